/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What is said of a lock besides its state, in the words of all verbs. */
#include "ctl/lock.h"

static JsonArray *
get_array(JsonObject *object, const char *member)
{
    JsonNode *node = json_object_get_member(object, member);

    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

guint
ctl_lock_n_departed(JsonObject *lock)
{
    JsonArray *departed = get_array(lock, "Departed");

    return departed ? json_array_get_length(departed) : 0;
}

char *
ctl_lock_describe_departed(JsonObject *lock)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < ctl_lock_n_departed(lock); i++) {
        JsonArray *guest = json_array_get_array_element(get_array(lock, "Departed"), i);

        g_string_append_printf(text, "%sguest '%s' (%s)", i ? ", " : "",
                               json_array_get_string_element(guest, 1),
                               json_array_get_string_element(guest, 0));
    }
    return g_string_free(text, FALSE);
}

char *
ctl_lock_departed_remedy(JsonObject *lock)
{
    return g_strdup_printf("when you know where it runs: apmigctl annotate %s TEXT", ctl_string(lock, "Id"));
}

gboolean
ctl_lock_covers_nothing(JsonObject *lock)
{
    JsonNode *node = json_object_get_member(lock, "Coverage");
    JsonObject *coverage = node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
    JsonArray *queues = coverage ? get_array(coverage, "queues") : NULL;
    JsonArray *guests = coverage ? get_array(coverage, "guests") : NULL;

    /* One that stands for a damaged lock has no scope that somebody gave. */
    return !g_str_equal(ctl_string(lock, "Origin"), "recovered") && queues && guests &&
           json_array_get_length(queues) == 0 && json_array_get_length(guests) == 0;
}
