/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/config.h"
#include "base/text.h"

#include <string.h>

#define MAX_BYTES     (64 * 1024)
#define MAX_TIMEOUT_S 60
#define MAX_SENTENCE  1024 /* bytes of an error, beyond the path */

/* Every key is taken away once it is read: what is left in the end is unknown. */
typedef struct {
    GKeyFile *file;
    const char *path;
} Source;

G_GNUC_PRINTF(5, 6)
static gboolean
fail(const Source *source, const char *group, const char *key, GError **error, const char *format, ...)
{
    g_autofree char *problem = NULL;
    va_list args;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_INVALID_VALUE, "%s: [%s] %s= %s", source->path,
                group, key, problem);
    return FALSE;
}

/* @value: keeps what it has, the default, when the key is not there. */
static gboolean
consume_text(const Source *source, const char *group, const char *key, char **value, GError **error)
{
    g_autoptr(GError) cause = NULL;
    char *text;

    if (!g_key_file_has_key(source->file, group, key, NULL))
        return TRUE;
    text = g_key_file_get_string(source->file, group, key, &cause);
    if (!text)
        return fail(source, group, key, error, "does not read: %s", cause->message);
    g_key_file_remove_key(source->file, group, key, NULL);
    g_free(*value);
    *value = g_strstrip(text);
    return TRUE;
}

static gboolean
consume_folder(const Source *source, const char *key, gboolean may_be_empty, char **value, GError **error)
{
    if (!consume_text(source, "Libvirt", key, value, error))
        return FALSE;
    return g_path_is_absolute(*value) || (may_be_empty && **value == '\0') ||
           fail(source, "Libvirt", key, error, "must be an absolute path%s, not \"%s\"",
                may_be_empty ? " or empty" : "", *value);
}

static gboolean
consume_uri(const Source *source, char **value, GError **error)
{
    if (!consume_text(source, "Libvirt", "URI", value, error))
        return FALSE;
    return **value != '\0' || fail(source, "Libvirt", "URI", error, "must not be empty");
}

static gboolean
consume_timeout(const Source *source, gint64 *ret_usec, GError **error)
{
    g_autofree char *text = NULL;
    guint64 seconds;

    if (!consume_text(source, "Hook", "Timeout", &text, error))
        return FALSE;
    if (!text)
        return TRUE;
    if (!g_ascii_string_to_unsigned(text, 10, 1, MAX_TIMEOUT_S, &seconds, NULL))
        return fail(source, "Hook", "Timeout", error, "must be a number of seconds from 1 to %d, not \"%s\"",
                    MAX_TIMEOUT_S, text);
    *ret_usec = seconds * G_USEC_PER_SEC;
    return TRUE;
}

static gboolean
consume_unreachable(const Source *source, gboolean *ret_deny, GError **error)
{
    g_autofree char *text = NULL;

    if (!consume_text(source, "Hook", "OnUnreachable", &text, error))
        return FALSE;
    if (!text)
        return TRUE;
    *ret_deny = strcmp(text, "deny") == 0;
    return *ret_deny || strcmp(text, "allow") == 0 ||
           fail(source, "Hook", "OnUnreachable", error, "must be \"deny\" or \"allow\", not \"%s\"", text);
}

static gboolean
reject_leftovers(const Source *source, GError **error)
{
    static const char *const known[] = {"Libvirt", "Hook", NULL};
    g_auto(GStrv) groups = g_key_file_get_groups(source->file, NULL);

    for (guint i = 0; groups[i]; i++) {
        g_auto(GStrv) keys = g_key_file_get_keys(source->file, groups[i], NULL, NULL);

        if (!g_strv_contains(known, groups[i])) {
            g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_GROUP_NOT_FOUND, "%s: unknown group [%s]",
                        source->path, groups[i]);
            return FALSE;
        }
        if (keys && keys[0])
            return fail(source, groups[i], keys[0], error, "is an unknown key");
    }
    return TRUE;
}

static gboolean
consume(const Source *source, ApmigConfig *config, GError **error)
{
    return consume_uri(source, &config->libvirt_uri, error) &&
           consume_folder(source, "HooksDirectory", FALSE, &config->hooks_dir, error) &&
           consume_folder(source, "StatusDirectory", TRUE, &config->status_dir, error) &&
           consume_timeout(source, &config->hook_timeout_usec, error) &&
           consume_unreachable(source, &config->hook_deny_unreachable, error) &&
           reject_leftovers(source, error);
}

/* --- the file ------------------------------------------------------------------------------------ */

static ApmigConfig *
config_new_default(void)
{
    ApmigConfig *config = g_new0(ApmigConfig, 1);

    config->libvirt_uri = g_strdup("qemu:///system");
    config->hooks_dir = g_strdup("/etc/libvirt/hooks");
    config->status_dir = g_strdup("/run/libvirt/qemu");
    config->hook_timeout_usec = 5 * G_USEC_PER_SEC;
    config->hook_deny_unreachable = TRUE;
    return config;
}

static gboolean
parse(const char *text, gsize length, const char *path, ApmigConfig *config, GError **error)
{
    g_autoptr(GKeyFile) file = g_key_file_new();
    Source source = {file, path};

    if (length > MAX_BYTES) {
        g_set_error(error, G_KEY_FILE_ERROR, G_KEY_FILE_ERROR_PARSE, "%s: it has more than %d bytes", path,
                    MAX_BYTES);
        return FALSE;
    }
    if (length == 0)
        return TRUE;
    if (!g_key_file_load_from_data(file, text, length, G_KEY_FILE_NONE, error)) {
        g_prefix_error(error, "%s: ", path);
        return FALSE;
    }
    return consume(&source, config, error);
}

/* Parts of the file stand in the sentence, and they may be anything. */
static void
set_plain_error(GError **error, const GError *cause, const char *path)
{
    g_autofree char *message = apmig_text_escape(cause->message, strlen(path) + MAX_SENTENCE);

    g_set_error_literal(error, cause->domain, cause->code, message);
}

ApmigConfig *
apmig_config_load(const char *path, gboolean must_exist, GError **error)
{
    g_autoptr(ApmigConfig) config = config_new_default();
    g_autoptr(GError) cause = NULL;
    g_autofree char *text = NULL;
    gsize length = 0;

    if (!g_file_get_contents(path, &text, &length, &cause)) {
        if (!must_exist && g_error_matches(cause, G_FILE_ERROR, G_FILE_ERROR_NOENT))
            return g_steal_pointer(&config);
        g_propagate_error(error, g_steal_pointer(&cause));
        return NULL;
    }
    if (!parse(text, length, path, config, &cause)) {
        set_plain_error(error, cause, path);
        return NULL;
    }
    return g_steal_pointer(&config);
}

void
apmig_config_free(ApmigConfig *config)
{
    if (!config)
        return;
    g_free(config->libvirt_uri);
    g_free(config->hooks_dir);
    g_free(config->status_dir);
    g_free(config);
}
