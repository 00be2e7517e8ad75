/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ctl/journal.h"

#include <string.h>
#include <systemd/sd-journal.h>

#include "ctl/format.h"
#include "base/log.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(sd_journal, sd_journal_close)

/* Set by journald from the sender's cgroup: see systemd.journal-fields(7), "Trusted Journal Fields". */
#define WHOSE "_SYSTEMD_UNIT=apmigd.service"

typedef enum {
    VALUE_TEXT,
    VALUE_NUMBER,
    VALUE_LIST,  /* the field may be there several times */
    VALUE_EVENT, /* a message id */
} ValueKind;

static const struct {
    const char *field;
    const char *member;
    ValueKind kind;
} fields[] = {
    {"MESSAGE=", "Message", VALUE_TEXT},
    {"MESSAGE_ID=", "Event", VALUE_EVENT},
    {"PRIORITY=", "Priority", VALUE_NUMBER},
    {"LOCK_ID=", "Locks", VALUE_LIST},
    {"CHANGE_ID=", "Changes", VALUE_LIST},
    {"MIGRATION_ID=", "Migration", VALUE_TEXT},
    {"GUEST=", "Guest", VALUE_TEXT},
    {"GUEST_UUID=", "Uuid", VALUE_TEXT},
    {"RESULT=", "Result", VALUE_TEXT},
    {"REQUEST=", "Request", VALUE_TEXT},
    {"CALLER_UID=", "CallerUid", VALUE_NUMBER},
    {"CALLER_LOGIN_UID=", "CallerLoginUid", VALUE_NUMBER},
    {"CALLER_PID=", "CallerPid", VALUE_NUMBER},
    {"CALLER_UNIT=", "CallerUnit", VALUE_TEXT},
    {"CALLER_VERIFIED=", "CallerVerified", VALUE_TEXT},
};

static const char *
event_name(const char *message_id)
{
    for (guint log = 0; log < APMIG_N_LOGS; log++) {
        if (g_str_equal(apmig_log_message_id(log), message_id))
            return apmig_log_name(log);
    }
    return "";
}

static void
add_to_list(JsonObject *entry, const char *member, const char *value)
{
    if (!json_object_has_member(entry, member))
        json_object_set_array_member(entry, member, json_array_new());
    json_array_add_string_element(json_object_get_array_member(entry, member), value);
}

/* @data: NAME=VALUE, not terminated */
static void
add_field(JsonObject *entry, const char *data, gsize length)
{
    for (guint i = 0; i < G_N_ELEMENTS(fields); i++) {
        gsize prefix = strlen(fields[i].field);
        g_autofree char *raw = NULL;
        g_autofree char *value = NULL;

        if (length < prefix || memcmp(data, fields[i].field, prefix) != 0)
            continue;
        raw = g_strndup(data + prefix, length - prefix);
        value = g_utf8_make_valid(raw, -1);
        if (fields[i].kind == VALUE_LIST)
            add_to_list(entry, fields[i].member, value);
        else if (fields[i].kind == VALUE_NUMBER)
            json_object_set_int_member(entry, fields[i].member, g_ascii_strtoll(value, NULL, 10));
        else
            json_object_set_string_member(entry, fields[i].member,
                                          fields[i].kind == VALUE_EVENT ? event_name(value) : value);
        return;
    }
}

/* Returns: a negative errno on failure. */
static int
read_entry(sd_journal *journal, GPtrArray *entries)
{
    g_autoptr(JsonObject) entry = json_object_new();
    guint64 time;
    const void *data;
    size_t length;
    int r = sd_journal_get_realtime_usec(journal, &time);

    if (r < 0)
        return r;
    json_object_set_int_member(entry, "Time", (gint64)time);
    json_object_set_string_member(entry, "Event", "");
    SD_JOURNAL_FOREACH_DATA(journal, data, length) add_field(entry, data, length);
    g_ptr_array_add(entries, g_steal_pointer(&entry));
    return 0;
}

static int
open_journal(sd_journal **journal, const char *directory, const char *match, gint64 since)
{
    int r = directory ? sd_journal_open_directory(journal, directory, 0)
                      : sd_journal_open(journal, SD_JOURNAL_LOCAL_ONLY);

    /* different fields: both have to match */
    if (r >= 0)
        r = sd_journal_add_match(*journal, WHOSE, 0);
    if (r >= 0)
        r = sd_journal_add_match(*journal, match, 0);
    if (r >= 0)
        r = since > 0 ? sd_journal_seek_realtime_usec(*journal, (guint64)since)
                      : sd_journal_seek_head(*journal);
    return r;
}

GPtrArray *
ctl_journal_read(const char *directory, const char *field, const char *value, gint64 since, GError **error)
{
    g_autoptr(sd_journal) journal = NULL;
    g_autoptr(GPtrArray) entries = g_ptr_array_new_with_free_func((GDestroyNotify)json_object_unref);
    g_autofree char *match = g_strconcat(field, "=", value, NULL);
    int r = open_journal(&journal, directory, match, since);

    while (r >= 0 && (r = sd_journal_next(journal)) > 0)
        r = read_entry(journal, entries);
    if (r >= 0)
        return g_steal_pointer(&entries);
    g_set_error(error, CTL_ERROR, CTL_EXIT_FAILURE, "the journal%s%s cannot be read: %s",
                directory ? " in " : "", directory ? directory : "", g_strerror(-r));
    return NULL;
}
