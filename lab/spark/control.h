/* The nodes below control/, which a toolstack and a guest's kernel use, treated as Linux does. */

#pragma once

#include <stdint.h>

enum request { NO_REQUEST, POWEROFF, REBOOT, SUSPEND };

/* Watch for requests, and advertise the features. */
void control_begin(void);

/*
 * Return the next request to end, acknowledged; NO_REQUEST at `deadline`, or when another watch
 * has fired. A request to suspend is carried out meanwhile.
 */
enum request control_listen(uint64_t deadline);

const char *request_name(enum request request);
