/* Time in nanoseconds since some beginning, and waiting. A domain that is saved does not age. */

#pragma once

#include <stdint.h>
#include <xen/event_channel.h>

#define SECOND 1000000000ULL
#define NEVER UINT64_MAX

uint64_t now(void);

/* Return when somebody has notified this event channel since it was cleared, or at `deadline`. */
void wait_for(evtchn_port_t port, uint64_t deadline);

/* Forget what was notified: done before looking at what the other side may have changed. */
void clear(evtchn_port_t port);

void notify(evtchn_port_t port);

/* Around a suspension. */
void clock_stop(void);
void clock_go_on(void);
