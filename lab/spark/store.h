/*
 * XenStore, over the ring that the domain shares with xenstored. Paths that do not begin with "/"
 * are the domain's own, below /local/domain/DOMID.
 */

#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whatever is not part of a transaction. */
#define ALONE 0

/* At the beginning, and when the domain was restored: all watches are set again. */
void store_begin(void);

/* Read a node as text, as much as there is room for; false: there is none, or it is not ours. */
bool store_read(uint32_t transaction, const char *path, char *text, size_t room);

bool store_write(uint32_t transaction, const char *path, const void *value, size_t length);
bool store_write_text(uint32_t transaction, const char *path, const char *text);

/* Return a new transaction; ALONE: xenstored gives none. */
uint32_t store_transaction(void);

/* End a transaction. True: somebody else wrote meanwhile, and all of it is to be done again. */
bool store_conflicts(uint32_t transaction);
void store_abandon(uint32_t transaction);

/* Watches are known by a number of one digit. A watch fires once when it is set. */
enum watch { NO_WATCH, WATCH_REQUEST, WATCH_FLOOD, WATCHES };
void store_watch(enum watch watch, const char *path);

/* Return a watch that has fired since it was last returned; at `deadline` NO_WATCH. */
enum watch store_wait(uint64_t deadline);

/*
 * Writes without waiting for their answers: each store_post() is to be followed by one
 * store_confirm() some time, which returns when the next answer is there. False: there is no room
 * for it on the ring until an answer has come.
 */
bool store_post(const char *path, const void *value, size_t length);
void store_confirm(void);
