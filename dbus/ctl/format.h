/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What apmigctl tells whoever called it: exit statuses, JSON, and text that is safe on a terminal.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "base/error.h"

/* The domain of every error that apmigctl raises itself; its codes are exit statuses: CtlExit, ApmigExit. */
#define CTL_ERROR (ctl_error_quark())

/* What a list of migrations does not show then: libvirt tells of outgoing ones only who asks, and apmigd asks for a lock. */
#define CTL_UNWATCHED "There is no lock: outgoing migrations are not watched now."

/* Exit statuses beside those of apmigd's conditions (base/error.h): part of the interface, never renumbered. */
typedef enum {
    CTL_EXIT_OK = 0,
    CTL_EXIT_FAILURE = 1,      /* none of the others; "hook": the guest may not come in */
    CTL_EXIT_USAGE = 2,        /* the command line is wrong */
    CTL_EXIT_UNREACHABLE = 13, /* no bus, no apmigd, or no answer from it */
    CTL_EXIT_WOULD_DENY = 20,  /* "check": the guest may not come in now */
    CTL_EXIT_LOCK_ENDED = 30,  /* "wait": the lock has ended, and was not held when last looked at */
    CTL_EXIT_BREACHED = 31,    /* "watch": a migration began under a lock */
    CTL_EXIT_BLIND =
        32, /* "watch": apmigd or the hypervisor cannot be reached any more, or what goes on is not known */
    CTL_EXIT_NO_GO = 33,     /* "ready": keys must not be changed now */
    CTL_EXIT_GO_EXCEPT = 34, /* over many hosts: on all but those that were left out by name */
} CtlExit;

GQuark ctl_error_quark(void);

/* Returns: (transfer none): all exit statuses as text for --help, with a newline at its end. */
const char *ctl_exit_statuses(void);

/* Returns: the status for the D-Bus error @name: those of the contract, of the bus itself and of systemd's activation. */
int ctl_exit_from_dbus(const char *name);

/* Prints the sentence of @error, of a verb, on standard error. Returns: the exit status that it comes to. */
int ctl_exit_from_error(const GError *error);

typedef enum {
    CTL_JSON_OFF,
    CTL_JSON_SHORT,
    CTL_JSON_PRETTY,
} CtlJson;

/* @node: (transfer full) */
void ctl_print_json(JsonNode *node, CtlJson json);

/* Returns: (transfer full): @text with everything that does not print as itself (control characters, terminal
 * escapes, marks that change the direction of writing) as \u{HEX}. Never contains a newline. */
char *ctl_escape(const char *text);

/* Returns: (transfer full): @usec of the real-time clock as local time; "never" for 0. */
char *ctl_format_time(gint64 usec);
/* Returns: (transfer full): such as "2 h 5 min"; two units at most. */
char *ctl_format_duration(gint64 usec);

/**
 * ctl_parse_duration:
 * @text: numbers with units, as in systemd.time(7): "90s", "20min", "3h", "1d 12h"; without a unit: seconds
 * @ret_usec: > 0, ten years at most; untouched on failure
 * @error: #CTL_EXIT_USAGE
 */
gboolean ctl_parse_duration(const char *text, gint64 *ret_usec, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* A table of aligned columns on standard output. @titles is terminated by NULL; each row is a GStrv of as many
 * cells (escaped by the table). @indent goes before every line. */
void ctl_print_table(const char *const *titles, GPtrArray *rows, const char *indent);
