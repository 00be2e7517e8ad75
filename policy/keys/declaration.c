/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keys/declaration.h"

#include "ap/find.h"
#include "base/error.h"

#include <string.h>

/* --- reading ------------------------------------------------------------------------------------- */

/* @text: the declaration, for the sentence. Returns: FALSE. */
G_GNUC_PRINTF(3, 4)
static gboolean
fail(GError **error, const char *text, const char *format, ...)
{
    g_autofree char *excerpt = apmig_error_excerpt(text);
    g_autofree char *problem = NULL;
    va_list args;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION, "The declaration \"%s\" %s.", excerpt,
                problem);
    return FALSE;
}

static gboolean
read_queues(const char *text, const char *queues, ApmigDeclaration *declaration, GError **error)
{
    g_autoptr(GError) cause = NULL;

    declaration->queues = apmig_scope_parse(queues, &cause);
    if (declaration->queues != NULL)
        return TRUE;
    if (g_str_has_suffix(cause->message, "."))
        cause->message[strlen(cause->message) - 1] = '\0';
    return fail(error, text, "names no AP queues: %s", cause->message);
}

static gboolean
read_class(const char *text, const char *name, ApmigDeclaration *declaration, GError **error)
{
    g_autofree char *excerpt = NULL;

    if (apmig_key_class_from_string(name, &declaration->key_class))
        return TRUE;
    excerpt = apmig_error_excerpt(name);
    if (g_str_equal(name, "SYM") || g_str_equal(name, "DES"))
        return fail(error, text,
                    "names the key class \"%s\", which no host can check: leave the SYM (DES) master key out",
                    excerpt);
    return fail(
        error, text,
        "names the key class \"%s\" but must name one of AES, APKA and ASYM (of CCA) and WK (of EP11)",
        excerpt);
}

static gboolean
read_pattern(const char *text, const char *pattern, ApmigDeclaration *declaration, GError **error)
{
    guint n_bytes = apmig_key_class_said_bytes(declaration->key_class, pattern);
    g_autofree char *excerpt = apmig_error_excerpt(pattern);

    if (!apmig_key_pattern_parse(pattern, n_bytes, &declaration->cur))
        return fail(error, text,
                    "has the pattern \"%s\" but must have \"0x\" and %u hexadecimal digits for %s", excerpt,
                    2 * n_bytes, apmig_key_class_to_string(declaration->key_class));
    if (declaration->cur.length == 0)
        return fail(error, text, "has a pattern of zeros, which is what a card shows when there is no key");
    declaration->cur.state = APMIG_KEY_STATE_VALID;
    return TRUE;
}

/* @parts: queues, class, pattern */
static ApmigDeclaration *
read_parts(const char *text, const char *const parts[3], GError **error)
{
    g_autoptr(ApmigDeclaration) declaration = g_new0(ApmigDeclaration, 1);

    if (!read_queues(text, parts[0], declaration, error) || !read_class(text, parts[1], declaration, error) ||
        !read_pattern(text, parts[2], declaration, error))
        return NULL;
    return g_steal_pointer(&declaration);
}

ApmigDeclaration *
apmig_declaration_parse(const char *text, GError **error)
{
    const char *colon = strchr(text, ':');
    const char *equals = colon != NULL ? strchr(colon, '=') : NULL;
    g_autofree char *queues = NULL;
    g_autofree char *key_class = NULL;

    if (equals == NULL) {
        fail(error, text, "must have the form QUEUES:CLASS=PATTERN, as in 04.0012:AES=0x0123456789abcdef");
        return NULL;
    }
    queues = g_strndup(text, (gsize)(colon - text));
    key_class = g_strndup(colon + 1, (gsize)(equals - colon - 1));
    return read_parts(text, (const char *const[]){queues, key_class, equals + 1}, error);
}

ApmigDeclaration *
apmig_declaration_parse_pair(const char *key, const char *pattern, GError **error)
{
    const char *space = strchr(key, ' ');
    g_autofree char *queues = NULL;

    if (space == NULL) {
        fail(error, key, "must name queues and a key class with a space between, as in \"04.0012 AES\"");
        return NULL;
    }
    queues = g_strndup(key, (gsize)(space - key));
    return read_parts(key, (const char *const[]){queues, space + 1, pattern}, error);
}

void
apmig_declaration_free(ApmigDeclaration *declaration)
{
    if (declaration == NULL)
        return;
    apmig_scope_unref(declaration->queues);
    g_free(declaration);
}

/* --- expanding ----------------------------------------------------------------------------------- */

/* Returns: (nullable) */
static const ApmigEvidenceRecord *
find_record(const GPtrArray *records, const ApmigApQueue *queue, ApmigKeyClass key_class)
{
    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];

        if (record->adapter == queue->adapter && record->domain == queue->domain &&
            record->key_class == key_class)
            return record;
    }
    return NULL;
}

static gboolean
is_same_key(const ApmigEvidenceRecord *record, const ApmigDeclaration *declaration, GError **error)
{
    const ApmigKeyRegister *cur = &record->registers[APMIG_REGISTER_CUR];
    g_autofree char *first = apmig_key_pattern_to_string(cur);
    g_autofree char *second = apmig_key_pattern_to_string(&declaration->cur);

    if (apmig_key_pattern_equal(record->key_class, cur, &declaration->cur))
        return TRUE;
    g_set_error(
        error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
        "Two declarations contradict each other: AP queue %02x.%04x cannot have both %s and %s in %s CUR.",
        record->adapter, record->domain, first, second, apmig_key_class_to_string(record->key_class));
    return FALSE;
}

static gboolean
is_within(const ApmigScope *within, const ApmigDeclaration *declaration, const ApmigApQueue *queue,
          GError **error)
{
    const char *key_class = apmig_key_class_to_string(declaration->key_class);
    g_autofree char *excerpt = NULL;
    g_autofree char *lock = NULL;

    if (within == NULL || apmig_scope_contains(within, queue->adapter, queue->domain))
        return TRUE;
    excerpt = apmig_error_excerpt(apmig_scope_to_string(declaration->queues));
    lock = apmig_error_excerpt(apmig_scope_to_string(within));
    g_set_error(
        error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
        "The declaration of %s for \"%s\" means AP queue %02x.%04x, which the lock on \"%s\" does not "
        "cover: declare queues of the lock alone.",
        key_class, excerpt, queue->adapter, queue->domain, lock);
    return FALSE;
}

/* Returns: how many queues are meant, or -1 with @error set. */
static int
expand(const ApmigDeclaration *declaration, const ApmigApHost *host, const ApmigScope *within,
       const ApmigEvidenceRecord *origin, GPtrArray *records, GError **error)
{
    int n = 0;

    for (guint i = 0; i < host->queues->len; i++) {
        const ApmigApQueue *queue = host->queues->pdata[i];
        const ApmigEvidenceRecord *present;
        ApmigEvidenceRecord record = *origin;

        if (!apmig_scope_contains(declaration->queues, queue->adapter, queue->domain) ||
            !apmig_key_mode_has_class(apmig_ap_find_mode(host, queue->adapter), declaration->key_class))
            continue;
        if (!is_within(within, declaration, queue, error))
            return -1;
        n++;
        present = find_record(records, queue, declaration->key_class);
        if (present != NULL) {
            if (!is_same_key(present, declaration, error))
                return -1;
            continue;
        }
        record.adapter = queue->adapter;
        record.domain = queue->domain;
        record.key_class = declaration->key_class;
        record.registers[APMIG_REGISTER_CUR] = declaration->cur;
        g_ptr_array_add(records, apmig_evidence_record_copy(&record));
    }
    return n;
}

GPtrArray *
apmig_declarations_expand(const GPtrArray *declarations, const ApmigApHost *host, const ApmigScope *within,
                          const ApmigEvidenceRecord *origin, GError **error)
{
    g_autoptr(GPtrArray) records = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free);

    for (guint i = 0; i < declarations->len; i++) {
        const ApmigDeclaration *declaration = declarations->pdata[i];
        const char *queues = apmig_scope_to_string(declaration->queues);
        const char *key_class = apmig_key_class_to_string(declaration->key_class);
        int n = expand(declaration, host, within, origin, records, error);

        if (n < 0)
            return NULL;
        if (n == 0) {
            g_autofree char *excerpt = apmig_error_excerpt(queues);
            g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_OPTION,
                        "The declaration of %s for \"%s\" means no AP queue of this host with %s master "
                        "keys: see the queues and modes with lszcrypt.",
                        key_class, excerpt, key_class);
            return NULL;
        }
    }
    return g_steal_pointer(&records);
}
