/*
 * What this domain is to Xen: the page that says how it began (start_info), the page that it
 * shares with the hypervisor (shared_info), its memory, its suspension and its end.
 *
 * Memory has two kinds of page numbers: a PFN is the domain's own, from 0 upwards, and by boot.S a
 * PFN is a virtual address / 4096; an MFN is the machine's: another one in a restored domain.
 */

#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <xen/sched.h>
#include <xen/xen.h>

extern struct start_info *start_info;

extern union shared_page {
    struct shared_info info;
    char page[4096];
} shared;

void domain_begin(struct start_info *given);

/* Return the virtual address of a machine page that is this domain's own. */
void *page_of(xen_pfn_t mfn);

/* End the domain for one of SHUTDOWN_poweroff, _reboot, _crash. */
void domain_end(unsigned reason) __attribute__((noreturn));

/*
 * Suspend the domain; return when it runs again. True: it was restored, as another domain with
 * other event channels, and XenStore knows nothing of its watches. False: the suspend was
 * cancelled (as after a checkpoint), and all is as it was.
 */
bool domain_suspend(void);

/* Write the domain's UUID in its usual form: 36 characters and the end. */
void domain_uuid(char text[37]);
