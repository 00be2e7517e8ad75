/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "message.h"

#include <errno.h>
#include <glib.h>
#include <string.h>
#include <sys/socket.h>

#define MAX_DEPTH 4

typedef struct {
    const guint8 *at, *end;
} Bytes;

static guint
take(Bytes *bytes)
{
    return bytes->at < bytes->end ? *bytes->at++ : 0;
}

/* A complete type. */
static void
choose_type(Bytes *bytes, GString *type, guint depth)
{
    static const char basic[] = "ybnqiuxtdsog";
    guint choice = take(bytes) % 20;

    if (choice < sizeof basic - 1 || depth >= MAX_DEPTH) {
        g_string_append_c(type, basic[choice % (sizeof basic - 1)]);
    } else if (choice < 14) {
        g_string_append_c(type, 'v');
    } else if (choice < 16) {
        g_string_append_c(type, 'a');
        choose_type(bytes, type, depth + 1);
    } else if (choice < 18) {
        g_string_append(type, "a{s");
        choose_type(bytes, type, depth + 1);
        g_string_append_c(type, '}');
    } else {
        g_string_append_c(type, '(');
        for (guint n = 1 + take(bytes) % 3; n > 0; n--)
            choose_type(bytes, type, depth + 1);
        g_string_append_c(type, ')');
    }
}

/* Returns: (transfer full): a short text, often a word that means something here. */
static char *
choose_text(Bytes *bytes, char type)
{
    static const char *const words[] = {"on-busy", "timeout-usec", "declare", "abort", "force", ""};
    guint choice = take(bytes);
    GString *text;

    if (type == 'o')
        return g_strdup("/org/apmigd1");
    if (type == 'g')
        return g_strdup("a{sv}");
    if (choice < 2 * G_N_ELEMENTS(words))
        return g_strdup(words[choice % G_N_ELEMENTS(words)]);
    text = g_string_new(NULL);
    for (guint n = choice % 16; n > 0; n--)
        g_string_append_c(text, (char)(1 + take(bytes) % 127));
    return g_string_free(text, FALSE);
}

static int append(sd_bus_message *message, Bytes *bytes, const char *type, guint depth);

static int
append_basic(sd_bus_message *message, Bytes *bytes, char type)
{
    g_autofree char *text = NULL;
    guint64 number = 0;
    int flag;

    if (strchr("sog", type)) {
        text = choose_text(bytes, type);
        return sd_bus_message_append_basic(message, type, text);
    }
    for (guint i = 0; i < sizeof number; i++)
        number = number << 8 | take(bytes);
    flag = number & 1;
    return sd_bus_message_append_basic(message, type, type == 'b' ? (const void *)&flag : &number);
}

static int
append_variant(sd_bus_message *message, Bytes *bytes, guint depth)
{
    g_autoptr(GString) type = g_string_new(NULL);
    int r;

    choose_type(bytes, type, depth + 1);
    r = sd_bus_message_open_container(message, 'v', type->str);
    if (r >= 0)
        r = append(message, bytes, type->str, depth + 1);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

static int
append_array(sd_bus_message *message, Bytes *bytes, const char *contents, guint depth)
{
    int r = sd_bus_message_open_container(message, 'a', contents);

    for (guint n = take(bytes) % 4; r >= 0 && n > 0; n--)
        r = append(message, bytes, contents, depth + 1);
    return r < 0 ? r : sd_bus_message_close_container(message);
}

/* Returns: (transfer full): the complete type that @types begins with. */
static char *
first_type(const char *types)
{
    const char *end = types;
    guint open = 0;

    do {
        while (*end == 'a')
            end++;
        open += *end == '(' || *end == '{';
        open -= *end == ')' || *end == '}';
        end++;
    } while (open > 0);
    return g_strndup(types, (gsize)(end - types));
}

static int
append_struct(sd_bus_message *message, Bytes *bytes, const char *type, guint depth)
{
    g_autofree char *contents = g_strndup(type + 1, strlen(type) - 2);
    int r = sd_bus_message_open_container(message, *type == '(' ? 'r' : 'e', contents);

    for (const char *rest = contents; r >= 0 && *rest;) {
        g_autofree char *member = first_type(rest);

        r = append(message, bytes, member, depth + 1);
        rest += strlen(member);
    }
    return r < 0 ? r : sd_bus_message_close_container(message);
}

/* @type: a complete one, or an entry of a dictionary */
static int
append(sd_bus_message *message, Bytes *bytes, const char *type, guint depth)
{
    if (depth > 2 * MAX_DEPTH)
        return -ELOOP;
    if (*type == 'v')
        return append_variant(message, bytes, depth);
    if (*type == 'a')
        return append_array(message, bytes, type + 1, depth);
    if (*type == '(' || *type == '{')
        return append_struct(message, bytes, type, depth);
    return append_basic(message, bytes, *type);
}

/* One that is connected to nobody, for messages to belong to. */
static sd_bus *
get_bus(void)
{
    static sd_bus *bus;
    int fds[2];

    if (!bus) {
        g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), ==, 0);
        g_assert_cmpint(sd_bus_new(&bus), >=, 0);
        g_assert_cmpint(sd_bus_set_fd(bus, fds[0], fds[0]), >=, 0);
        g_assert_cmpint(sd_bus_start(bus), >=, 0);
    }
    return bus;
}

sd_bus_message *
fuzz_message_new(const guint8 *data, gsize size)
{
    Bytes bytes = {data, data + size};
    sd_bus_message *message = NULL;

    if (sd_bus_message_new_method_call(get_bus(), &message, "org.apmigd1", "/org/apmigd1",
                                       "org.apmigd1.Manager", "TakeLock") >= 0 &&
        append(message, &bytes, "a{sv}", 0) >= 0 && sd_bus_message_seal(message, 1, 0) >= 0)
        return message;
    sd_bus_message_unref(message);
    return NULL;
}
