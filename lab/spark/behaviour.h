/* What a guest is like: how it lives until it is asked to end, and how it ends then. */

#pragma once

#include "control.h"

struct behaviour {
    const char *name;
    /* Returns what it was asked to do, or does by itself. */
    enum request (*lives)(void);
    /* Returns what it does then; it may never return. */
    enum request (*ends)(enum request asked);
};

/* Return the behaviour of this name; NULL: there is none. */
const struct behaviour *behaviour_named(const char *name);

/* "deaf": it never uses XenStore. */
enum request deaf(void);

/* "floods": it writes its own nodes as fast as it can, once data/flood is "1". */
enum request floods(void);

/* The guest's command line: the value of lamp.NAME=VALUE as text, or as a number. */
const char *setting(const char *name, const char *usual);
unsigned setting_number(const char *name, unsigned usual);
