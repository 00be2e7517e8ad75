/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The one way from apmigctl to apmigd: calls on the system bus, or over its private socket, with a deadline over everything, connecting and
 * authenticating included (sd_bus_call() bounds only the wait for the reply), and values read as JSON.
 */
#pragma once

#include <json-glib/json-glib.h>
#include <systemd/sd-bus.h>

#include "ctl/options.h"
#include "names.h"

/* For what apmigd answers from memory. */
#define CTL_CALL_USEC (10 * G_USEC_PER_SEC)

/* What apmigd tells of a change, and that it comes to the bus or leaves it. */
#define CTL_MATCH_SIGNALS "type='signal',sender='" APMIG_BUS_NAME "',path_namespace='" APMIG_BUS_PATH "'"
#define CTL_MATCH_NAMES                                                                                      \
    "type='signal',sender='org.freedesktop.DBus',interface='org.freedesktop.DBus',"                          \
    "member='NameOwnerChanged',arg0='" APMIG_BUS_NAME "'"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus, sd_bus_close_unref)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_bus_message, sd_bus_message_unref)

/**
 * ctl_bus_open: of the host that @common names; polkit may have somebody asked for a password unless that says no
 * Else as ctl_bus_open_host().
 */
sd_bus *ctl_bus_open(const CtlCommon *common, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Begins to connect to the system bus (DBUS_SYSTEM_BUS_ADDRESS is honoured), without blocking. @error: #CTL_EXIT_UNREACHABLE */
sd_bus *ctl_bus_open_system(GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_bus_open_host: begins to connect to the system bus, or to what stands in for it
 * @host: (nullable): of this host, over ssh as systemctl's --host: then it is connected on return, which may take as long as
 *   somebody types a password; %NULL: of this one, as ctl_bus_open_system(). Where root cannot connect to that, or
 *   it has not let him in after 2 s, it is the private socket, if there is one: standard error is told, and
 *   sd_bus_is_bus_client() says no.
 * @error: #CTL_EXIT_UNREACHABLE
 */
sd_bus *ctl_bus_open_host(const char *host, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_bus_open_private: begins to speak to the daemon itself, over its private socket (RUNTIME_DIRECTORY is honoured),
 * without blocking. It is open to root alone.
 *
 * Returns: (transfer full) (nullable): NULL: nobody listens there, or not for the caller
 */
sd_bus *ctl_bus_open_private(void) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full): a call of the daemon, to be filled by sd_bus_message_append(). */
sd_bus_message *ctl_bus_new_call(sd_bus *bus, const char *path, const char *interface, const char *member,
                                 GError **error);

/* Sets @error when @r, of an sd-bus function, is negative. Returns: whether it is not. */
gboolean ctl_bus_check(int r, GError **error);

/* Appends an "a{ss}". @pairs: (element-type utf8): each key and its value. Returns: negative errno on failure. */
int ctl_bus_append_pairs(sd_bus_message *call, const GPtrArray *pairs);

typedef gboolean (*CtlDoneFunc)(gpointer user_data);
typedef void (*CtlTickFunc)(gpointer user_data);

/**
 * ctl_bus_wait: the one way to wait: has what comes over the bus handled until something has come of it
 * @is_done: whether it has, with @data
 * @deadline: monotonic; G_MAXINT64 for none
 * @tick: (nullable): called about once per second while waiting, with @tick_data; may make calls itself
 *
 * Returns: 0, or a negative errno: -ETIMEDOUT at @deadline
 */
int ctl_bus_wait(sd_bus *bus, CtlDoneFunc is_done, gpointer data, gint64 deadline, CtlTickFunc tick,
                 gpointer tick_data) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_bus_call: sends @call and waits for its reply
 * @timeout_usec: over everything; G_MAXINT64 for no limit
 * @tick: (nullable): see ctl_bus_wait()
 * @error: the sentence of the daemon's error or of ours; its code is an exit status
 *
 * Returns: (transfer full) (nullable): the reply
 */
sd_bus_message *ctl_bus_call(sd_bus *bus, sd_bus_message *call, gint64 timeout_usec, CtlTickFunc tick,
                             gpointer user_data, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/**
 * ctl_bus_get_owner: asks the bus, which does not start apmigd for it; over the private socket apmigd gives its name
 * @error: #CTL_EXIT_UNREACHABLE: apmigd does not run
 *
 * Returns: (transfer full) (nullable): apmigd's name of its own on the bus
 */
char *ctl_bus_get_owner(sd_bus *bus, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full) (nullable): the next value of @message; dictionaries with string keys are objects. */
JsonNode *ctl_bus_read_json(sd_bus_message *message, GError **error);

/* Returns: (transfer full) (nullable): the list that @call is answered with, from memory. */
JsonArray *ctl_bus_call_for_list(sd_bus *bus, sd_bus_message *call, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Returns: (transfer full) (nullable): the properties of the manager object. */
JsonObject *ctl_bus_get_manager(sd_bus *bus, GError **error);

/**
 * ctl_bus_get_objects: locks and migrations, with all their properties and the object path as "Path"
 * @with_ended: also those that have ended, which the daemon keeps readable for a while
 * @ret_locks: (out) (element-type JsonObject): oldest first
 * @ret_migrations: (out) (element-type JsonObject): oldest first
 */
gboolean ctl_bus_get_objects(sd_bus *bus, gint64 timeout_usec, gboolean with_ended, GPtrArray **ret_locks,
                             GPtrArray **ret_migrations, GError **error) G_GNUC_WARN_UNUSED_RESULT;

/* Properties of such an object; "" or 0 when missing. */
const char *ctl_string(JsonObject *object, const char *name);
gint64 ctl_int(JsonObject *object, const char *name);
gboolean ctl_bool(JsonObject *object, const char *name);
