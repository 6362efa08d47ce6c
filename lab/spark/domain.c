#include "domain.h"
#include "clock.h"
#include "hypercall.h"
#include "text.h"

#define PAGE 4096UL
#define PRESENT_AND_WRITABLE 3UL

struct start_info *start_info;

/* A page of our own, whose place in the address space the hypervisor's page takes. */
union shared_page shared __attribute__((aligned(PAGE)));

/* Xen keeps the table from MFN to PFN, and its builder has made the list from PFN to MFN. */
static xen_pfn_t pfn_of(xen_pfn_t mfn)
{
    return machine_to_phys_mapping[mfn];
}

static xen_pfn_t mfn_at(unsigned long address)
{
    return ((xen_pfn_t *)start_info->mfn_list)[address / PAGE];
}

void *page_of(xen_pfn_t mfn)
{
    return (void *)(pfn_of(mfn) * PAGE);
}

/*
 * Map the page that is shared with the hypervisor, and say in it what a toolstack that saves us has
 * to know: where the list from PFN to MFN is, and by which page tables. No event may interrupt us:
 * events are polled for.
 */
static void share_page(void)
{
    unsigned long entry = start_info->shared_info | PRESENT_AND_WRITABLE;
    if (xen_map((unsigned long)&shared, entry))
        domain_end(SHUTDOWN_crash);
    struct arch_shared_info *arch = &shared.info.arch;
    arch->max_pfn = start_info->nr_pages;
    arch->p2m_cr3 = mfn_at(start_info->pt_base) * PAGE;
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

/*
 * The toolstack saves PFNs, and makes MFNs of them when it restores: in the page tables by itself,
 * in start_info where we have put PFNs. A page table must not lead to what is the hypervisor's.
 */
bool domain_suspend(void)
{
    struct sched_shutdown how = {.reason = SHUTDOWN_suspend};
    xen_pfn_t store = start_info->store_mfn, console = start_info->console.domU.mfn;

    clock_stop();
    start_info->store_mfn = pfn_of(store);
    start_info->console.domU.mfn = pfn_of(console);
    unsigned long own_page = mfn_at((unsigned long)&shared) * PAGE;
    xen_map((unsigned long)&shared, own_page | PRESENT_AND_WRITABLE);

    /* The last argument says which page start_info is, for whoever restores us. */
    bool cancelled = xen_schedule(SCHEDOP_shutdown, &how, mfn_at((unsigned long)start_info));
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
    xen_domain_handle_t uuid;
    xen_version(XENVER_guest_handle, uuid);
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *text++ = '-';
        text += format(text, 3, "%02x", uuid[i]);
    }
}
