/* SPDX-License-Identifier: LGPL-2.1-or-later */
#define SD_JOURNAL_SUPPRESS_LOCATION /* it would name this file, always */

#include "base/log.h"
#include "base/log-queue.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <syslog.h>
#include <systemd/sd-journal.h>
#include <unistd.h>

#define MAX_FIELDS      64 /* what is beyond is left out: of locks, the newest */
#define MAX_FIELD_BYTES 4096

/* Each id has an entry in systemd/apmigd.catalog; once released, an id keeps its meaning for good. */
static const struct {
    const char *name;
    const char *message_id;
} logs[APMIG_N_LOGS] = {
    [APMIG_LOG_LOCK_REQUESTED] = {"LOCK_REQUESTED", "638a547afdca4e938179134be5c176ec"},
    [APMIG_LOG_LOCK_HELD] = {"LOCK_HELD", "7d60fcefec0e4043843c76119a91042c"},
    [APMIG_LOG_LOCK_ENDED] = {"LOCK_ENDED", "e1c6c3edd67e4dab954524faab8c2b77"},
    [APMIG_LOG_RELEASE_REFUSED] = {"RELEASE_REFUSED", "b709752c4a7b4671834ec8bb63928b7c"},
    [APMIG_LOG_LOCK_BREACHED] = {"LOCK_BREACHED", "d96cfabd5c9a4a278a2c56b68171a83a"},
    [APMIG_LOG_BREACH_OVER] = {"BREACH_OVER", "617e6459a96a42969ad8fcb15e9e9961"},
    [APMIG_LOG_LOCK_OVERDUE] = {"LOCK_OVERDUE", "be41954ca82745adb9496d5fc5f2bdbe"},
    [APMIG_LOG_LOCK_RECOVERED] = {"LOCK_RECOVERED", "80efd995c2de44a7b8a35588eb70c743"},
    [APMIG_LOG_LOCK_ADOPTED] = {"LOCK_ADOPTED", "cc8f491325b24ee39b4cd5686a3f82fa"},
    [APMIG_LOG_STATE_FAILURE] = {"STATE_FAILURE", "0580e40baafe4ca09723da074bbadebb"},
    [APMIG_LOG_ADMISSION_DENIED] = {"ADMISSION_DENIED", "70aea4f57f1644c8ab009a565e09485d"},
    [APMIG_LOG_ADMISSION_ALLOWED] = {"ADMISSION_ALLOWED", "c744fe8ea03d4d3ab99b6aa362a32860"},
    [APMIG_LOG_ADMISSION_DOUBTFUL] = {"ADMISSION_DOUBTFUL", "f9dd48e30f2b4565a5f3550f59b0faab"},
    [APMIG_LOG_MIGRATION_SEEN] = {"MIGRATION_SEEN", "d5580ab9acd143ffae49a9782406a270"},
    [APMIG_LOG_MIGRATION_ENDED] = {"MIGRATION_ENDED", "6d2330f6a1ee4dffaa9f3d9611cf7eab"},
    [APMIG_LOG_STEP_STARTED] = {"STEP_STARTED", "0ccc9326dae74ccfba6caacbc5436914"},
    [APMIG_LOG_STEP_FINISHED] = {"STEP_FINISHED", "84a676c9ee43455b94df33c380b214a1"},
    [APMIG_LOG_VIEW_STARTED] = {"VIEW_STARTED", "adeb35afaa974ce382cc02f100d68669"},
    [APMIG_LOG_VIEW_LOST] = {"VIEW_LOST", "8f656b4e60284e62b88289e3dd1eb1ef"},
    [APMIG_LOG_STAMP_FAILED] = {"STAMP_FAILED", "33d90cd18b884f59a62d2e1a8811b272"},
    [APMIG_LOG_KEYS_DECLARED] = {"KEYS_DECLARED", "37ef10ad93674dbcb40c70c5c53ba9ce"},
    [APMIG_LOG_KEYS_CONTRADICTED] = {"KEYS_CONTRADICTED", "a4c1a5fda25e4ecd97f3f1b0f1dc52ae"},
    [APMIG_LOG_KEYS_CHANGED] = {"KEYS_CHANGED", "d3f0b6e1c52a4e0f9a4f7c88b5e9d216"},
    [APMIG_LOG_LOCK_TAKEN_OVER] = {"LOCK_TAKEN_OVER", "6b1d9f0e4c7a4b52a83e15d20c94f7e8"},
    [APMIG_LOG_LOCK_AMENDED] = {"LOCK_AMENDED", "2e58c3a97f614d0bb6d40fe1738a95c2"},
    [APMIG_LOG_REQUEST_MADE] = {"REQUEST_MADE", "fcc5db78e518445d9d832da188b464a8"},
    [APMIG_LOG_REQUEST_REFUSED] = {"REQUEST_REFUSED", "cd1f91a86905424f91738f814b476a5e"},
    [APMIG_LOG_CONFIG_CHANGED] = {"CONFIG_CHANGED", "b430bcd5e2d54b19918808e6faca5a6e"},
    [APMIG_LOG_GUEST_REPLUGGED] = {"GUEST_REPLUGGED", "e355c25ccfab4682809f8d81de044425"},
    [APMIG_LOG_GUEST_STARTED] = {"GUEST_STARTED", "6ca18d41190a4a18aa88dda4c365d645"},
    [APMIG_LOG_PERMIT_GIVEN] = {"PERMIT_GIVEN", "4bb7ed8054a14ad0a6f6d8ea8b6a3b51"},
    [APMIG_LOG_PERMIT_USED] = {"PERMIT_USED", "c7fdd0f04a3f4de4b1a4c2b1e05b1d0e"},
    [APMIG_LOG_PERMIT_ENDED] = {"PERMIT_ENDED", "9f2d5a6e8a0b4d7cae7f0f3d1c6482f3"},
    [APMIG_LOG_VIEW_LATE] = {"VIEW_LATE", "1d0c6e7b94f1480f8c3a52be6f7d91a4"},
    [APMIG_LOG_GUEST_DEPARTED] = {"GUEST_DEPARTED", "7a93b1f05c2e4be6a1d84f60c9e2375b"},
    [APMIG_LOG_LOCK_ATTEMPTED] = {"LOCK_ATTEMPTED", "c40f8d2a6b9e4715b3e5077cda1f9862"},
    [APMIG_LOG_LOCK_COVERS_NOTHING] = {"LOCK_COVERS_NOTHING", "8579ae19eb714e75af3f886066b6087a"},
};

/* --- fields -------------------------------------------------------------------------------------- */

typedef struct {
    char *texts[MAX_FIELDS]; /* "NAME=value" */
    struct iovec vectors[MAX_FIELDS];
    int n;
} Fields;

static void
fields_free(gpointer data)
{
    Fields *fields = data;

    for (int i = 0; i < fields->n; i++)
        g_free(fields->texts[i]);
    g_free(fields);
}

static void
add_field(Fields *fields, const char *name, const char *value)
{
    g_autofree char *shown = NULL;
    char *text;

    if (!value || *value == '\0' || fields->n == MAX_FIELDS)
        return;
    shown = apmig_text_escape(value, MAX_FIELD_BYTES);
    text = g_strconcat(name, "=", shown, NULL);
    fields->texts[fields->n] = text;
    fields->vectors[fields->n] = (struct iovec){text, strlen(text)};
    fields->n++;
}

/* @number: -1 is left out */
static void
add_number(Fields *fields, const char *name, gint64 number)
{
    g_autofree char *text = number >= 0 ? g_strdup_printf("%" G_GINT64_FORMAT, number) : NULL;

    add_field(fields, name, text);
}

static void
add_priority(Fields *fields, int priority)
{
    char digit[] = {'0' + (priority & LOG_PRIMASK), '\0'};

    add_field(fields, "PRIORITY", digit);
}

/* --- where to ------------------------------------------------------------------------------------ */

/* systemd.exec(5), $JOURNAL_STREAM: whether standard error goes to the journal, and was not redirected since. */
static gboolean
stderr_is_journal(void)
{
    const char *stream = g_getenv("JOURNAL_STREAM");
    g_autofree char *own = NULL;
    struct stat st;

    if (!stream || fstat(STDERR_FILENO, &st) < 0)
        return FALSE;
    own = g_strdup_printf("%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    return strcmp(stream, own) == 0;
}

/* In one write, so that lines of different threads do not mix. */
static void
write_line(const char *line)
{
    g_autofree char *whole = g_strconcat(line, "\n", NULL);

    if (write(STDERR_FILENO, whole, strlen(whole)) < 0)
        return; /* there is nobody left to tell */
}

/* Either. */
typedef struct {
    Fields *fields; /* for the journal */
    char *line;     /* for standard error */
} Output;

static void
output_free(gpointer data)
{
    Output *output = data;

    g_clear_pointer(&output->fields, fields_free);
    g_free(output->line);
    g_free(output);
}

static void
output_write(gpointer data)
{
    Output *output = data;

    if (output->fields)
        sd_journal_sendv(output->fields->vectors, output->fields->n);
    else
        write_line(output->line);
    output_free(output);
}

static Output *
plain_new(int priority, const char *message)
{
    Output *output = g_new0(Output, 1);

    if (!stderr_is_journal()) {
        output->line = apmig_text_escape(message, MAX_FIELD_BYTES);
        return output;
    }
    output->fields = g_new0(Fields, 1);
    add_field(output->fields, "MESSAGE", message);
    add_priority(output->fields, priority);
    return output;
}

/* --- the thread ---------------------------------------------------------------------------------- */

static ApmigLogQueue *queue; /* NULL: who logs writes */

static gpointer
describe_loss(guint64 n_strange, guint64 n_others)
{
    g_autofree char *message = g_strdup_printf("the log was not read in time, and %" G_GUINT64_FORMAT
                                               " entries were left out: %" G_GUINT64_FORMAT
                                               " refusals of requests, %" G_GUINT64_FORMAT " others",
                                               n_strange + n_others, n_strange, n_others);

    return plain_new(LOG_WARNING, message);
}

static const ApmigLogQueueFuncs queue_funcs = {output_write, output_free, describe_loss};

void
apmig_log_start(void)
{
    queue = apmig_log_queue_new(&queue_funcs);
}

void
apmig_log_end(gint64 limit_usec)
{
    if (queue)
        (void)apmig_log_queue_end(queue, limit_usec);
}

/* What tells of locks is what the log is for. */
static ApmigLogRank
rank_of(ApmigLog log)
{
    static const char *const kept[] = {"LOCK_", "BREACH_", "VIEW_", "STATE_FAILURE"};

    for (guint i = 0; i < G_N_ELEMENTS(kept); i++)
        if (g_str_has_prefix(logs[log].name, kept[i]))
            return APMIG_LOG_RANK_KEPT;
    return log == APMIG_LOG_REQUEST_REFUSED ? APMIG_LOG_RANK_STRANGE : APMIG_LOG_RANK_COMMON;
}

/* @output: (transfer full) */
static void
put(ApmigLogRank rank, Output *output)
{
    if (queue)
        apmig_log_queue_put(queue, rank, output);
    else
        output_write(output);
}

/* --- lines --------------------------------------------------------------------------------------- */

static void
append_part(GString *line, const char *name, const char *value)
{
    if (value && *value)
        g_string_append_printf(line, "%s%s=%s", line->len > 0 ? " " : "", name, value);
}

static void
append_number(GString *line, const char *name, gint64 number)
{
    g_autofree char *text = number >= 0 ? g_strdup_printf("%" G_GINT64_FORMAT, number) : NULL;

    append_part(line, name, text);
}

/* @requester: (nullable) */
static void
append_requester(GString *line, const char *request, const ApmigRequester *requester)
{
    append_part(line, "request", request);
    if (!requester)
        return;
    append_number(line, "uid", requester->uid);
    append_number(line, "login-uid", requester->login_uid);
    append_number(line, "pid", requester->pid);
    append_part(line, "unit", requester->unit);
    append_part(line, "verified", requester->verified ? "yes" : "no");
}

/* Returns: (transfer full) */
static char *
make_line(const ApmigLogEntry *entry, const char *request, const ApmigRequester *requester)
{
    g_autoptr(GString) parts = g_string_new(NULL);
    g_autofree char *text = NULL;

    append_part(parts, "lock", entry->lock_id);
    append_part(parts, "migration", entry->migration_id);
    append_part(parts, "guest", entry->guest ? entry->guest : entry->uuid);
    append_requester(parts, request, requester);
    text = g_strdup_printf("%s: %s%s%s%s", logs[entry->log].name, entry->message ? entry->message : "",
                           parts->len > 0 ? " [" : "", parts->str, parts->len > 0 ? "]" : "");
    return apmig_text_escape(text, MAX_FIELD_BYTES);
}

/* --- entries ------------------------------------------------------------------------------------- */

const char *
apmig_log_message_id(ApmigLog log)
{
    g_return_val_if_fail((guint)log < APMIG_N_LOGS, "");
    return logs[log].message_id;
}

const char *
apmig_log_name(ApmigLog log)
{
    g_return_val_if_fail((guint)log < APMIG_N_LOGS, "");
    return logs[log].name;
}

static void
add_locks(Fields *fields, const GPtrArray *locks)
{
    for (guint i = 0; i < locks->len; i++) {
        const ApmigLockRecord *record = g_ptr_array_index(locks, i);

        add_field(fields, "LOCK_ID", record->id);
        add_field(fields, "CHANGE_ID", record->change_id);
    }
}

static void
add_requester(Fields *fields, const ApmigRequester *requester)
{
    add_number(fields, "CALLER_UID", requester->uid);
    add_number(fields, "CALLER_LOGIN_UID", requester->login_uid);
    add_number(fields, "CALLER_PID", requester->pid);
    add_field(fields, "CALLER_UNIT", requester->unit);
    add_field(fields, "CALLER_VERIFIED", requester->verified ? "yes" : "no");
}

static guint64 counts[APMIG_N_LOGS];

guint64
apmig_log_count(ApmigLog log)
{
    g_return_val_if_fail((guint)log < APMIG_N_LOGS, 0);
    return counts[log];
}

/* Returns: (transfer full) */
static Fields *
make_fields(const ApmigLogEntry *entry, const char *request, const ApmigRequester *requester)
{
    Fields *fields = g_new0(Fields, 1);

    add_field(fields, "MESSAGE", entry->message);
    add_field(fields, "MESSAGE_ID", logs[entry->log].message_id);
    add_priority(fields, entry->priority);
    add_field(fields, "LOCK_ID", entry->lock_id);
    add_field(fields, "CHANGE_ID", entry->change_id);
    add_field(fields, "MIGRATION_ID", entry->migration_id);
    add_field(fields, "GUEST", entry->guest);
    add_field(fields, "GUEST_UUID", entry->uuid);
    add_field(fields, "RESULT", entry->result);
    add_field(fields, "REQUEST", request);
    if (requester)
        add_requester(fields, requester);
    if (entry->locks)
        add_locks(fields, entry->locks);
    return fields;
}

void
apmig_log_request(const ApmigLogEntry *entry, const char *request, const ApmigRequester *requester)
{
    Output *output;

    g_return_if_fail((guint)entry->log < APMIG_N_LOGS);
    counts[entry->log]++;
    output = g_new0(Output, 1);
    if (stderr_is_journal())
        output->fields = make_fields(entry, request, requester);
    else
        output->line = make_line(entry, request, requester);
    put(rank_of(entry->log), output);
}

void
apmig_log_entry(const ApmigLogEntry *entry)
{
    apmig_log_request(entry, NULL, NULL);
}

void
apmig_log(int priority, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    put(APMIG_LOG_RANK_COMMON, plain_new(priority, message));
}
