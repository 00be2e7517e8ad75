/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <stdio.h>

#include "ctl/bus.h"
#include "ctl/ctl.h"
#include "ctl/format.h"
#include "names.h"
#include "ctl/options.h"

/* A write into the metadata of a guest whose migration begins at that moment takes libvirt 30 s. */
#define UNSTAMP_USEC (60 * G_USEC_PER_SEC)

/* Returns: NULL with @error set. */
static const char *
choose_guest(int argc, char **argv, gboolean all, GError **error)
{
    if (all == (argc > 1)) {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "name a guest, or give --all");
        return NULL;
    }
    if (!all && *argv[1] == '\0') {
        g_set_error_literal(error, CTL_ERROR, CTL_EXIT_USAGE, "the guest's name is empty");
        return NULL;
    }
    return all ? "" : argv[1];
}

int
ctl_verb_unstamp(int argc, char **argv, GError **error)
{
    g_auto(CtlCommon) common = {0};
    gboolean all = FALSE;
    const GOptionEntry entries[] = {
        {"all", 0, 0, G_OPTION_ARG_NONE, &all, "Of all guests that run on this host", NULL},
        {NULL},
    };
    const CtlUsage usage = {"GUEST|--all",
                            "Takes away what apmigd wrote into the metadata of GUEST, a name or UUID, for "
                            "the hosts where it goes:\n"
                            "this host's lock, AP queues and keys. It is written again when there is a "
                            "cause: a start of the guest,\n"
                            "a lock; the policy \"stamp\": \"off\" ends that. As root.",
                            NULL,
                            entries,
                            0,
                            1};
    const char *guest;
    guint32 n_removed;

    if (!ctl_parse_options(&argc, &argv, &usage, &common, error))
        return CTL_EXIT_FAILURE;
    guest = choose_guest(argc, argv, all, error);
    if (!guest)
        return CTL_EXIT_USAGE;

    g_autoptr(sd_bus) bus = ctl_bus_open(common.host, error);
    g_autoptr(sd_bus_message) call =
        bus ? ctl_bus_new_call(bus, APMIG_BUS_PATH, APMIG_BUS_MANAGER, "RemoveStamps", error) : NULL;

    if (!call || !ctl_bus_check(sd_bus_message_append(call, "s", guest), error))
        return CTL_EXIT_FAILURE;

    g_autoptr(sd_bus_message) reply = ctl_bus_call(bus, call, UNSTAMP_USEC, NULL, NULL, error);

    if (!reply || !ctl_bus_check(sd_bus_message_read(reply, "u", &n_removed), error))
        return CTL_EXIT_FAILURE;
    if (!common.quiet)
        printf("%u stamp%s taken away\n", n_removed, n_removed == 1 ? "" : "s");
    return CTL_EXIT_OK;
}
