/*
 * Event channels: a bit in the page shared with the hypervisor, which the other side sets. They are
 * never delivered as interrupts. Whoever waits for a change clears the bit, looks for the change,
 * and only then waits: what comes in between is not lost.
 */

#pragma once

#include <stdint.h>
#include <xen/event_channel.h>

/* Notify the other side. */
void event_send(evtchn_port_t port);

void event_clear(evtchn_port_t port);

/* Return when the event has come since it was cleared, or at `deadline`; at times for nothing. */
void event_wait(evtchn_port_t port, uint64_t deadline);
