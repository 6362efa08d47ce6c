/*
 * Calls of the hypervisor: the number is in rax, arguments are in rdi, rsi and rdx. Like every
 * system call it destroys rcx and r11. Below zero a result is an error of xen/errno.h.
 */

#pragma once

#include <stdint.h>
#include <xen/event_channel.h>
#include <xen/sched.h>
#include <xen/version.h>
#include <xen/xen.h>

static inline long hypercall(unsigned long number, unsigned long a, unsigned long b,
                             unsigned long c)
{
    long result;
    asm volatile("syscall"
                 : "=a"(result), "+D"(a), "+S"(b), "+d"(c)
                 : "a"(number)
                 : "rcx", "r11", "memory");
    return result;
}

static inline long xen_schedule(int command, void *argument, unsigned long extra)
{
    return hypercall(__HYPERVISOR_sched_op, command, (unsigned long)argument, extra);
}

static inline long xen_events(int command, void *argument)
{
    return hypercall(__HYPERVISOR_event_channel_op, command, (unsigned long)argument, 0);
}

static inline long xen_version(int command, void *argument)
{
    return hypercall(__HYPERVISOR_xen_version, command, (unsigned long)argument, 0);
}

/* Map a machine page at a virtual address; an entry of 0 maps nothing there. */
static inline long xen_map(unsigned long address, unsigned long entry)
{
    return hypercall(__HYPERVISOR_update_va_mapping, address, entry, UVMF_INVLPG);
}
