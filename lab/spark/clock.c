#include "clock.h"
#include "domain.h"

/* How far our time is ahead of the hypervisor's: another machine has another time. */
static uint64_t ahead, stopped_at;

/* The hypervisor's last reading of its clock, and what the time-stamp counter has counted since. */
static uint64_t hypervisor_now(void)
{
    const volatile struct vcpu_time_info *time = &shared.info.vcpu_info[0].time;
    uint32_t version;
    uint64_t time_now;
    do {
        version = time->version;
        uint64_t count = __builtin_ia32_rdtsc(), since = time->tsc_timestamp;
        /* This processor's counter may be a little behind the one that it was read on. */
        uint64_t passed = count > since ? count - since : 0;
        int shift = time->tsc_shift;
        passed = shift < 0 ? passed >> -shift : passed << shift;
        passed = (unsigned __int128)passed * time->tsc_to_system_mul >> 32;
        time_now = time->system_time + passed;
    } while (version & 1 || version != time->version);
    return time_now;
}

uint64_t now(void)
{
    return hypervisor_now() + ahead;
}

uint64_t system_time(uint64_t moment)
{
    return moment == NEVER ? 0 : moment - ahead;
}

void clock_stop(void)
{
    stopped_at = now();
}

void clock_go_on(void)
{
    ahead = stopped_at - hypervisor_now();
}
