/* The console: a ring that xenconsoled reads, and logs. */

#pragma once

void console_begin(void);

/* Write a line that begins as every guest's of the lab does; format() says what it may hold. */
void say(const char *how, ...) __attribute__((format(printf, 1, 2)));
