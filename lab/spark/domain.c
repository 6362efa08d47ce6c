#include "domain.h"
#include "clock.h"
#include "hypercall.h"
#include "text.h"

#define PAGE 4096UL
#define PRESENT_AND_WRITABLE 3UL

struct start_info *start_info;

/* A page of our own, whose place in the address space the hypervisor's page takes. */
union shared_page shared __attribute__((aligned(PAGE)));

/* The number of the machine page behind each of our pages: Xen's builder has made the list. */
static uint64_t *machine_pages(void)
{
    return (uint64_t *)start_info->mfn_list;
}

static uint64_t machine_page_at(unsigned long address)
{
    return machine_pages()[address / PAGE];
}

static uint64_t own_page_number(uint64_t machine_page)
{
    return machine_to_phys_mapping[machine_page];
}

void *page_of(uint64_t machine_page)
{
    return (void *)(own_page_number(machine_page) * PAGE);
}

/*
 * Map the page that is shared with the hypervisor, and say in it what `xl save` has to know: where
 * the list of our pages is, and which page tables it is mapped by. No event may interrupt us: they
 * are looked for, not delivered.
 */
static void share_page(void)
{
    unsigned long entry = start_info->shared_info | PRESENT_AND_WRITABLE;
    if (xen_map((unsigned long)&shared, entry))
        domain_end(SHUTDOWN_crash);
    struct arch_shared_info *arch = &shared.info.arch;
    arch->max_pfn = start_info->nr_pages;
    arch->p2m_cr3 = machine_page_at(start_info->pt_base) * PAGE;
    arch->p2m_vaddr = start_info->mfn_list;
    memset(shared.info.evtchn_mask, 0xff, sizeof(shared.info.evtchn_mask));
}

void domain_begin(struct start_info *given)
{
    start_info = given;
    share_page();
    xen_map(0, 0); /* What follows a null pointer crashes. */
}

void domain_end(unsigned reason)
{
    struct sched_shutdown how = {.reason = reason};
    for (;;)
        xen_schedule(SCHEDOP_shutdown, &how, 0);
}

bool domain_suspend(void)
{
    struct sched_shutdown how = {.reason = SHUTDOWN_suspend};
    uint64_t store = start_info->store_mfn, console = start_info->console.domU.mfn;

    clock_stop();
    /* Another machine gives us other pages, so whoever saves us wants to see numbers of our own. */
    start_info->store_mfn = own_page_number(store);
    start_info->console.domU.mfn = own_page_number(console);
    /* Nor may anything be mapped that is the hypervisor's. */
    uint64_t own = machine_page_at((unsigned long)&shared);
    xen_map((unsigned long)&shared, own * PAGE | PRESENT_AND_WRITABLE);

    /* The last argument is where whoever restores us finds start_info, to write it anew. */
    bool cancelled = xen_schedule(SCHEDOP_shutdown, &how, machine_page_at((unsigned long)start_info));
    if (cancelled) {
        start_info->store_mfn = store;
        start_info->console.domU.mfn = console;
    }
    share_page();
    clock_go_on();
    return !cancelled;
}

void domain_uuid(char text[37])
{
    uint8_t uuid[16];
    xen_version(XENVER_guest_handle, uuid);
    char *to = text;
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *to++ = '-';
        to += format(to, 3, "%02x", uuid[i]);
    }
}
