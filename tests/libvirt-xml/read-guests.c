/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Tells what apmigd reads of domain XMLs: for each on standard input, its size in bytes on a line and then these bytes,
 * a line of JSON with what was read and what the hook would pass on of it, or with the error.
 */
#include "base/error.h"
#include "guest/xml.h"

#include <json-glib/json-glib.h>
#include <stdio.h>
#include <stdlib.h>

static void
add_string(JsonBuilder *answer, const char *name, const char *value)
{
    json_builder_set_member_name(answer, name);
    json_builder_add_string_value(answer, value);
}

static void
add_boolean(JsonBuilder *answer, const char *name, gboolean value)
{
    json_builder_set_member_name(answer, name);
    json_builder_add_boolean_value(answer, value);
}

static void
describe(JsonBuilder *answer, const ApmigGuest *guest, const char *reduced)
{
    add_string(answer, "name", guest->name);
    add_string(answer, "uuid", guest->uuid);
    add_boolean(answer, "affected", guest->affected != APMIG_AFFECTED_NO);
    add_boolean(answer, "has-unnamed", guest->has_unnamed);
    json_builder_set_member_name(answer, "devices");
    json_builder_begin_array(answer);
    for (char **device = guest->devices; *device; device++)
        json_builder_add_string_value(answer, *device);
    json_builder_end_array(answer);
    add_string(answer, "reduced", reduced);
}

/* Of what does not parse nothing may be passed on either. */
static void
answer_xml(JsonBuilder *answer, const char *xml, gsize length)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GError) reduce_error = NULL;
    g_autoptr(ApmigGuest) guest = apmig_guest_parse(xml, length, &error);
    g_autofree char *reduced = apmig_guest_reduce(xml, length, &reduce_error);

    if (guest) {
        g_assert_no_error(reduce_error);
        describe(answer, guest, reduced);
        return;
    }
    g_assert_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
    g_assert_error(reduce_error, APMIG_ERROR, APMIG_ERROR_INVALID_GUEST);
    add_string(answer, "error", error->message);
}

static void
print_line(JsonBuilder *answer)
{
    JsonNode *root = json_builder_get_root(answer);
    g_autofree char *text = json_to_string(root, FALSE);

    puts(text);
    json_node_unref(root);
}

int
main(void)
{
    gsize length;

    while (scanf("%zu", &length) == 1 && getchar() == '\n') {
        /* No byte more than it has: a sanitizer finds who reads further. */
        g_autofree char *xml = g_malloc(MAX(length, 1));
        g_autoptr(JsonBuilder) answer = json_builder_new();

        if (fread(xml, 1, length, stdin) != length)
            return EXIT_FAILURE;
        json_builder_begin_object(answer);
        answer_xml(answer, xml, length);
        json_builder_end_object(answer);
        print_line(answer);
    }
    return feof(stdin) ? EXIT_SUCCESS : EXIT_FAILURE;
}
