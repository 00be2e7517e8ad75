/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/rehearse.h"

#include <stdio.h>

#include "names.h"

/* Returns: (transfer full): "libvirt-abort, vfio-state". */
static char *
join_steps(JsonObject *migration)
{
    JsonNode *node = json_object_get_member(migration, "steps");
    JsonArray *steps = node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
    GString *text = g_string_new(NULL);

    for (guint i = 0; steps && i < json_array_get_length(steps); i++)
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", json_array_get_string_element(steps, i));
    return g_string_free(text, FALSE);
}

static void
print_migration(JsonObject *migration)
{
    const char *treatment = ctl_string(migration, "treatment");
    const char *direction = g_str_equal(ctl_string(migration, "direction"), "out") ? "leaving" : "coming in";
    g_autofree char *guest = ctl_escape(ctl_string(migration, "guest"));
    g_autofree char *explanation = ctl_escape(ctl_string(migration, "explanation"));
    g_autofree char *steps = join_steps(migration);

    if (g_str_equal(treatment, "end"))
        printf("  guest '%s' is %s: this would be ended with %s\n", guest, direction, steps);
    else if (g_str_equal(treatment, "refuse"))
        printf("  guest '%s' is %s: the request would be refused\n", guest, direction);
    else
        printf("  guest '%s' is %s: its end would be waited for%s%s\n", guest, direction,
               *explanation ? ": " : "", explanation);
}

static void
print_text(const char *scope, gboolean possible, const char *why_not, JsonArray *migrations)
{
    g_autofree char *safe_scope = ctl_escape(scope);
    g_autofree char *safe_reason = ctl_escape(why_not);
    guint n = json_array_get_length(migrations);

    printf("Rehearsal: no lock was taken on %s, and nothing was ended.\n", safe_scope);
    if (n == 0)
        puts("  no migration of an affected guest is in progress");
    for (guint i = 0; i < n; i++)
        print_migration(json_array_get_object_element(migrations, i));
    if (!possible)
        printf("No lock would come of it: %s.\n", safe_reason);
}

static void
print_json(gboolean possible, const char *why_not, JsonNode *migrations, CtlJson json)
{
    g_autoptr(JsonObject) object = json_object_new();

    json_object_set_boolean_member(object, "Possible", possible);
    json_object_set_string_member(object, "WhyNot", why_not);
    json_object_set_member(object, "Migrations", json_node_copy(migrations));
    ctl_print_json(json_node_init_object(json_node_alloc(), object), json);
}

int
ctl_print_rehearsal(sd_bus_message *reply, const char *scope, CtlJson json, gboolean quiet, GError **error)
{
    g_autoptr(JsonNode) migrations = NULL;
    const char *why_not;
    int possible;

    if (!ctl_bus_check(sd_bus_message_read(reply, "bs", &possible, &why_not), error))
        return CTL_EXIT_FAILURE;
    migrations = ctl_bus_read_json(reply, error);
    if (!migrations)
        return CTL_EXIT_FAILURE;
    if (json != CTL_JSON_OFF)
        print_json(possible, why_not, migrations, json);
    else if (!quiet)
        print_text(scope, possible, why_not, json_node_get_array(migrations));
    return possible ? CTL_EXIT_OK : APMIG_EXIT_BUSY;
}
