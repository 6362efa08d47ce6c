/*
 * What Xen's domain builder reads of the kernel (ELF notes), and where it lets the processor begin.
 *
 * A PV kernel begins in 64-bit mode with paging on: the builder has mapped everything that the
 * domain was given, so there are no page tables to make. rsi holds the address of start_info.
 */

#define __ASSEMBLY__
#include <xen/elfnote.h>

/* A note: the length of its owner's name and of its value, its type, and both, padded to words. */
#define NOTE(type, value...)            \
        .align  4;                      \
        .long   4, 2f - 1f, type;       \
        .asciz  "Xen";                  \
1:      value;                          \
2:      .align  4

        .section .note.Xen, "a", @note
        NOTE(XEN_ELFNOTE_GUEST_OS,      .asciz "spark")
        NOTE(XEN_ELFNOTE_GUEST_VERSION, .asciz "1")
        NOTE(XEN_ELFNOTE_XEN_VERSION,   .asciz "xen-3.0")
        NOTE(XEN_ELFNOTE_LOADER,        .asciz "generic")
        NOTE(XEN_ELFNOTE_FEATURES,      .asciz "")
        /* Virtual addresses are the domain's own physical ones. */
        NOTE(XEN_ELFNOTE_VIRT_BASE,     .quad 0)
        NOTE(XEN_ELFNOTE_PADDR_OFFSET,  .quad 0)
        NOTE(XEN_ELFNOTE_ENTRY,         .quad _start)
        /* A suspend that is cancelled returns 1: the domain goes on as it was. */
        NOTE(XEN_ELFNOTE_SUSPEND_CANCEL, .long 1)

        .text
        .globl  _start
_start:
        cld
        lea     stack_top(%rip), %rsp
        xor     %ebp, %ebp
        mov     %rsi, %rdi
        call    spark_main
        ud2                             /* It does not return; this would crash the domain. */

        .bss
        .align  16
        .skip   16384
stack_top:

        .section .note.GNU-stack, "", @progbits
