/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hosts/host-names.h"

#include <string.h>

#include "ctl/format.h"
#include "fleet/document.h"

#define MAX_FILE (256 * 1024)

static int
compare(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* --- one name ------------------------------------------------------------------------------------- */

/* Where ":PORT" begins; NULL: there is none. An address of IPv6 has colons of its own, and a port only after brackets. */
static const char *
find_port(const char *name)
{
    const char *last = strrchr(name, ':'), *bracket = strrchr(name, ']');

    if (!last || (bracket ? last != bracket + 1 : strchr(name, ':') != last))
        return NULL;
    return last;
}

static gboolean
is_port(const char *text)
{
    gsize length = strspn(text, "0123456789");
    guint64 number = g_ascii_strtoull(text, NULL, 10);

    return length > 0 && length <= 5 && text[length] == '\0' && number >= 1 && number <= 65535;
}

/* Returns: (nullable): what is wrong with it, as a clause. */
static const char *
find_fault(const char *name)
{
    const char *port = find_port(name), *at = strchr(name, '@'), *host = at ? at + 1 : name;

    if (*name == '\0')
        return "is empty";
    if (*name == '-' || *host == '-')
        return "begins with '-', which ssh would take for an option";
    if (strlen(name) > APMIG_FLEET_MAX_NAME_LENGTH)
        return "is longer than 255 bytes";
    for (const char *p = name; *p; p++)
        if (!g_ascii_isalnum(*p) && !strchr("._-@:%[]", *p))
            return "has a character that no name of a host has";
    if (at == name || *host == '\0' || strchr(host, '@') || host == port)
        return "is not of the form [USER@]HOST[:PORT]";
    if (port && !is_port(port + 1))
        return "has a port that is no number from 1 to 65535";
    return NULL;
}

char *
hosts_names_split(const char *name, char **ret_port)
{
    const char *port = find_port(name);
    GString *target = port ? g_string_new_len(name, port - name) : g_string_new(name);
    char *bracket;

    *ret_port = port ? g_strdup(port + 1) : NULL;
    while ((bracket = strpbrk(target->str, "[]")) != NULL)
        g_string_erase(target, bracket - target->str, 1);
    return g_string_free(target, FALSE);
}

/* --- many ----------------------------------------------------------------------------------------- */

/* @where: where it stands, to begin the sentence with. @name: (transfer full) */
static gboolean
add(GPtrArray *names, const char *where, char *name, GError **error)
{
    g_autofree char *owned = name;
    g_autofree char *shown = ctl_escape(name);
    const char *fault = find_fault(name);

    for (guint i = 0; !fault && i < names->len; i++)
        if (g_ascii_strcasecmp(g_ptr_array_index(names, i), name) == 0)
            fault = "stands there twice";
    if (!fault && names->len >= APMIG_FLEET_MAX_HOSTS)
        fault = "is one more than the 500 that there may be";
    if (fault) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "%s: the host '%s' %s", where, shown, fault);
        return FALSE;
    }
    g_ptr_array_add(names, g_steal_pointer(&owned));
    return TRUE;
}

GPtrArray *
hosts_names_parse(const char *list, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_auto(GStrv) parts = g_strsplit(*list ? list : ",", ",", -1);

    for (guint i = 0; parts[i]; i++)
        if (!add(names, "--hosts", g_strdup(parts[i]), error))
            return NULL;
    g_ptr_array_sort(names, compare);
    return g_steal_pointer(&names);
}

/* @text: of @length bytes, which may hold a NUL */
static gboolean
add_lines(GPtrArray *names, const char *path, const char *text, gsize length, GError **error)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);

    if (strlen(text) != length) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "%s, line %u: it has a character 0", path,
                    g_strv_length(lines));
        return FALSE;
    }
    for (guint i = 0; lines[i]; i++) {
        g_autofree char *where = g_strdup_printf("%s, line %u", path, i + 1);

        lines[i][strcspn(lines[i], "#")] = '\0';
        g_strstrip(lines[i]);
        if (*lines[i] && !add(names, where, g_strdup(lines[i]), error))
            return FALSE;
    }
    return TRUE;
}

GPtrArray *
hosts_names_read(const char *path, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) problem = NULL;
    g_autofree char *text = NULL;
    g_autofree char *shown = ctl_escape(path);
    gsize length = 0;

    if (!g_file_get_contents(path, &text, &length, &problem)) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "the list of hosts cannot be read: %s",
                    problem->message);
        return NULL;
    }
    if (length > MAX_FILE) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "%s: it is longer than 256 KiB: is it a list of hosts?",
                    shown);
        return NULL;
    }
    if (!add_lines(names, shown, text, length, error))
        return NULL;
    if (names->len == 0) {
        g_set_error(error, CTL_ERROR, CTL_EXIT_USAGE, "%s: it names no host", shown);
        return NULL;
    }
    g_ptr_array_sort(names, compare);
    return g_steal_pointer(&names);
}
