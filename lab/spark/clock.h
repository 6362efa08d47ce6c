/* Time in nanoseconds since some beginning. A domain that is saved does not age meanwhile. */

#pragma once

#include <stdint.h>

#define SECOND 1000000000ULL
#define NEVER UINT64_MAX

uint64_t now(void);

/* The same moment on the hypervisor's clock; 0, which is never, for NEVER. */
uint64_t system_time(uint64_t moment);

/* Around a suspension. */
void clock_stop(void);
void clock_go_on(void);
