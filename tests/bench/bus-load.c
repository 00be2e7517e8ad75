/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Calls apmigd on the system bus as fast as it answers, on one connection: what calls.py measures is not this client,
 * so it is written in C on sd-bus, and makes a call anew only of what is already in memory.
 *
 *     bus-load MEMBER COUNT IN-FLIGHT [SCOPE]
 *
 * MEMBER is Ping, of org.freedesktop.DBus.Peer, or AdmitMigration, of COUNT guests that take turns in 20 names. Their XML
 * is what the hook sends of a guest that declares SCOPE, or of one that has nothing to do with crypto. With IN-FLIGHT 1
 * each call waits for the answer to the one before. Prints the seconds from the first call to the last answer, and how
 * many guests were let in.
 */
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-bus.h>

#include "names.h"

#define N_GUESTS 20 /* as many as libvirtd lets in at a time by default: max_workers */

typedef struct {
    sd_bus *bus;
    gboolean is_ping;
    const char *scope; /* (nullable) */
    guint left;        /* to be called */
    guint in_flight;
    guint n_allowed;
    int problem; /* a negative errno: the first thing that went wrong */
} Load;

static int call_next(Load *load);

static char *
reduced_xml(const Load *load, const char *name, guint number)
{
    g_autofree char *metadata = load->scope
                                    ? g_strdup_printf("<metadata><apmigd:keys xmlns:apmigd=\"urn:apmigd:1\" "
                                                      "scope=\"%s\"/></metadata>",
                                                      load->scope)
                                    : g_strdup("");

    return g_strdup_printf("<domain><name>%s</name><uuid>00000000-0000-4000-8000-%012x</uuid>%s</domain>",
                           name, number, metadata);
}

static int
on_answer(sd_bus_message *reply, void *user_data, sd_bus_error *ret_error)
{
    Load *load = user_data;
    int allowed = 0;

    load->in_flight--;
    if (sd_bus_message_is_method_error(reply, NULL) > 0) {
        fprintf(stderr, "bus-load: apmigd answered with %s: %s\n", sd_bus_message_get_error(reply)->name,
                sd_bus_message_get_error(reply)->message);
        load->problem = -sd_bus_message_get_errno(reply);
        return 1;
    }
    if (!load->is_ping && sd_bus_message_read(reply, "b", &allowed) > 0)
        load->n_allowed += allowed != 0;
    if (load->left > 0)
        load->problem = MIN(call_next(load), load->problem);
    return 1;
}

static int
call_next(Load *load)
{
    guint number = load->left-- % N_GUESTS + 1;
    g_autofree char *name = g_strdup_printf("g%u", number);
    g_autofree char *xml = load->is_ping ? NULL : reduced_xml(load, name, number);
    int r = load->is_ping
                ? sd_bus_call_method_async(load->bus, NULL, APMIG_BUS_NAME, APMIG_BUS_PATH,
                                           "org.freedesktop.DBus.Peer", "Ping", on_answer, load, NULL)
                : sd_bus_call_method_async(load->bus, NULL, APMIG_BUS_NAME, APMIG_BUS_PATH, APMIG_BUS_MANAGER,
                                           "AdmitMigration", on_answer, load, "sssss", name, "migrate",
                                           "begin", "-", xml);

    if (r >= 0)
        load->in_flight++;
    return r;
}

static int
run(Load *load, guint window)
{
    while (load->problem >= 0 && load->left > 0 && load->in_flight < window)
        load->problem = MIN(call_next(load), load->problem);
    while (load->problem >= 0 && load->in_flight > 0) {
        int r = sd_bus_process(load->bus, NULL);

        if (r == 0)
            r = sd_bus_wait(load->bus, UINT64_MAX);
        load->problem = MIN(r, load->problem);
    }
    return load->problem;
}

int
main(int argc, char **argv)
{
    guint64 count, window;
    Load load = {0};
    gint64 begin;
    int r;

    if (argc < 4 || argc > 5 || (strcmp(argv[1], "Ping") != 0 && strcmp(argv[1], "AdmitMigration") != 0) ||
        !g_ascii_string_to_unsigned(argv[2], 10, 1, G_MAXUINT, &count, NULL) ||
        !g_ascii_string_to_unsigned(argv[3], 10, 1, 1024, &window, NULL)) {
        fprintf(stderr, "usage: bus-load Ping|AdmitMigration COUNT IN-FLIGHT [SCOPE]\n");
        return 2;
    }
    load.is_ping = strcmp(argv[1], "Ping") == 0;
    load.left = (guint)count;
    load.scope = argv[4];
    r = sd_bus_open_system(&load.bus);
    /* One answer before the clock starts: connecting and authenticating is not what is measured. */
    if (r >= 0)
        r = sd_bus_call_method(load.bus, APMIG_BUS_NAME, APMIG_BUS_PATH, "org.freedesktop.DBus.Peer", "Ping",
                               NULL, NULL, NULL);
    begin = g_get_monotonic_time();
    if (r >= 0)
        r = run(&load, (guint)window);
    if (r < 0) {
        fprintf(stderr, "bus-load: %s: is apmigd on the bus that DBUS_SYSTEM_BUS_ADDRESS names?\n",
                g_strerror(-r));
        return 1;
    }
    printf("%.6f %u\n", (double)(g_get_monotonic_time() - begin) / G_USEC_PER_SEC, load.n_allowed);
    sd_bus_flush_close_unref(load.bus);
    return 0;
}
