/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes are a file for apmigctl unlock --declare-from. Every line counts or the file is refused; what the daemon takes
 * of it reads the same in the other form, and becomes one record for each queue of this host that is meant and covered
 * by the lock, or none at all.
 */
#include "fuzz.h"
#include "ap/find.h"
#include "ap/fixture.h"
#include "keys/declaration.h"
#include "ctl/declare.h"
#include "ctl/format.h"
#include "base/text.h"

#include <string.h>

#define LOCK "04-05.0012"

/* --- the file ------------------------------------------------------------------------------------ */

static guint
count_declarations(const char *text)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    guint n = 0;

    for (guint i = 0; lines[i]; i++) {
        g_strdelimit(lines[i], "#", '\0');
        n += *g_strstrip(lines[i]) != '\0';
    }
    return n;
}

/* Returns: (transfer full) (nullable) */
static GPtrArray *
read_file(const char *text, gsize size)
{
    g_autoptr(GPtrArray) pairs = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GError) error = NULL;

    if (!ctl_declare_add_lines(pairs, text, size, &error)) {
        g_assert_error(error, CTL_ERROR, CTL_EXIT_USAGE);
        g_assert_true(apmig_text_is_plain(error->message, G_MAXSIZE));
        return NULL;
    }
    g_assert_no_error(error);
    g_assert_cmpuint(strlen(text), ==, size);
    g_assert_cmpuint(pairs->len, ==, 2 * count_declarations(text));
    for (guint i = 0; i < pairs->len; i++)
        g_assert_true(g_utf8_validate(pairs->pdata[i], -1, NULL));
    return g_steal_pointer(&pairs);
}

/* --- the declarations ---------------------------------------------------------------------------- */

static void
check_declaration(const ApmigDeclaration *declaration)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *pattern = apmig_key_pattern_to_string(&declaration->cur);
    g_autofree char *text = g_strdup_printf("%s:%s=%s", apmig_scope_to_string(declaration->queues),
                                            apmig_key_class_to_string(declaration->key_class), pattern);
    g_autoptr(ApmigDeclaration) again = apmig_declaration_parse(text, &error);

    g_assert_cmpint(declaration->cur.state, ==, APMIG_KEY_STATE_VALID);
    g_assert_cmpuint(declaration->cur.length, >, 0);
    g_assert_false(apmig_scope_is_none(declaration->queues));
    if (!again) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        g_assert_cmpuint(strlen(apmig_scope_to_string(declaration->queues)), >, APMIG_SCOPE_MAX_LENGTH);
        return;
    }
    g_assert_true(apmig_scope_equal(declaration->queues, again->queues));
    g_assert_cmpint(declaration->key_class, ==, again->key_class);
    g_assert_cmpmem(&declaration->cur, sizeof declaration->cur, &again->cur, sizeof again->cur);
}

/* Returns: (transfer full) (nullable): all or nothing, as the daemon takes them. */
static GPtrArray *
parse_all(const GPtrArray *pairs)
{
    g_autoptr(GPtrArray) declarations =
        g_ptr_array_new_with_free_func((GDestroyNotify)apmig_declaration_free);

    for (guint i = 0; i < pairs->len; i += 2) {
        g_autoptr(GError) error = NULL;
        ApmigDeclaration *declaration =
            apmig_declaration_parse_pair(pairs->pdata[i], pairs->pdata[i + 1], &error);

        if (!declaration) {
            fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
            return NULL;
        }
        check_declaration(declaration);
        g_ptr_array_add(declarations, declaration);
    }
    return g_steal_pointer(&declarations);
}

/* --- the records --------------------------------------------------------------------------------- */

static ApmigApHost *
make_host(void)
{
    static const char *const types[] = {"CEX8C", "CEX8P", "CEX7A"};
    ApmigApHost *host = host_new();

    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        host_add_card(host, 4 + i, types[i]);
        host_add_queue(host, 4 + i, 0x12, "vfio_ap");
        host_add_queue(host, 4 + i, 0x13, "vfio_ap");
    }
    return host;
}

static gboolean
is_declared(const GPtrArray *declarations, const ApmigEvidenceRecord *record)
{
    for (guint i = 0; i < declarations->len; i++) {
        const ApmigDeclaration *declaration = declarations->pdata[i];

        if (declaration->key_class == record->key_class &&
            apmig_scope_contains(declaration->queues, record->adapter, record->domain))
            return apmig_key_pattern_equal(record->key_class, &declaration->cur,
                                           &record->registers[APMIG_REGISTER_CUR]);
    }
    return FALSE;
}

static void
check_records(const GPtrArray *declarations, const ApmigApHost *host, const ApmigScope *within)
{
    const ApmigEvidenceRecord origin = {
        .evidence = APMIG_EVIDENCE_ATTESTED, .at = 1, .source = (char *)"tke"};
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = apmig_declarations_expand(declarations, host, within, &origin, &error);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);

    if (!records) {
        fuzz_check_error(error, APMIG_ERROR_INVALID_OPTION);
        return;
    }
    g_assert_no_error(error);
    g_assert_true((records->len > 0) == (declarations->len > 0));
    for (guint i = 0; i < records->len; i++) {
        const ApmigEvidenceRecord *record = records->pdata[i];

        g_assert_cmpint(record->evidence, ==, APMIG_EVIDENCE_ATTESTED);
        g_assert_nonnull(apmig_ap_find_queue(host, record->adapter, record->domain));
        g_assert_true(apmig_key_mode_has_class(apmig_ap_find_mode(host, record->adapter), record->key_class));
        g_assert_true(!within || apmig_scope_contains(within, record->adapter, record->domain));
        g_assert_true(is_declared(declarations, record));
        g_assert_true(g_hash_table_add(
            seen, g_strdup_printf("%u.%u.%d", record->adapter, record->domain, record->key_class)));
    }
}

int
LLVMFuzzerTestOneInput(const guint8 *data, gsize size)
{
    g_autofree char *text = fuzz_terminate(data, size);
    g_autoptr(GPtrArray) pairs = read_file(text, size);
    g_autoptr(GPtrArray) declarations = pairs ? parse_all(pairs) : NULL;
    g_autoptr(ApmigScope) within = scope_of(LOCK);
    ApmigApHost *host = make_host();

    if (declarations) {
        check_records(declarations, host, NULL);
        check_records(declarations, host, within);
    }
    apmig_ap_host_free(host);
    return 0;
}
