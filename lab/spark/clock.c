#include "clock.h"
#include "domain.h"
#include "hypercall.h"

/* How far the time that we tell is ahead of the machine's; another machine has another time. */
static uint64_t ahead, stopped_at;

/* The hypervisor's last reading of the clock, and what the time counter has counted since. */
static uint64_t machine_time(void)
{
    const volatile struct vcpu_time_info *time = &shared.info.vcpu_info[0].time;
    uint32_t version;
    uint64_t told;
    do {
        version = time->version;
        uint64_t count = __builtin_ia32_rdtsc(), since = time->tsc_timestamp;
        /* This processor's counter may be a little behind the one that it was read on. */
        uint64_t passed = count > since ? count - since : 0;
        int shift = time->tsc_shift;
        passed = shift < 0 ? passed >> -shift : passed << shift;
        told = time->system_time + (uint64_t)((unsigned __int128)passed * time->tsc_to_system_mul >> 32);
    } while (version & 1 || version != time->version);
    return told;
}

uint64_t now(void)
{
    return machine_time() + ahead;
}

void wait_for(evtchn_port_t port, uint64_t deadline)
{
    if (now() >= deadline)
        return;
    struct sched_poll poll = {.nr_ports = 1, .timeout = deadline == NEVER ? 0 : deadline - ahead};
    set_xen_guest_handle(poll.ports, &port);
    xen_schedule(SCHEDOP_poll, &poll, 0);
}

void clear(evtchn_port_t port)
{
    const unsigned bits = 8 * sizeof(shared.info.evtchn_pending[0]);
    __atomic_fetch_and(&shared.info.evtchn_pending[port / bits], ~(1UL << port % bits), __ATOMIC_SEQ_CST);
}

void notify(evtchn_port_t port)
{
    struct evtchn_send send = {.port = port};
    xen_events(EVTCHNOP_send, &send);
}

void clock_stop(void)
{
    stopped_at = now();
}

void clock_go_on(void)
{
    ahead = stopped_at - machine_time();
}
