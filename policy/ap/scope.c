/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ap/scope.h"

#include "base/error.h"

#include <stdarg.h>
#include <string.h>

#define N_NUMBERS     256 /* adapters, and domains */
#define WORD_BITS     64
#define WORDS_PER_ROW (N_NUMBERS / WORD_BITS)

/* A set of numbers, a bit each: the domains of one adapter, mostly. */
typedef struct {
    guint64 words[WORDS_PER_ROW];
} Row;

struct ApmigScope {
    gatomicrefcount refs;
    Row rows[N_NUMBERS]; /* of each adapter */
    Row adapters; /* a bit for each that has a domain: most scopes have few, and are compared again and again */
    char *text;   /* NULL until apmig_scope_to_string() is first called */
};

typedef struct {
    guint first;
    guint last; /* inclusive */
} Range;

static const Range whole = {0, N_NUMBERS - 1};

static gboolean
range_is_whole(Range range)
{
    return range.first == whole.first && range.last == whole.last;
}

typedef struct {
    Range adapters;
    Range domains;
} Rectangle;

/* --- rows ---------------------------------------------------------------------------------------- */

static gboolean
row_has(const Row *row, guint domain)
{
    return (row->words[domain / WORD_BITS] >> (domain % WORD_BITS)) & 1;
}

static void
row_set(Row *row, guint domain)
{
    row->words[domain / WORD_BITS] |= G_GUINT64_CONSTANT(1) << (domain % WORD_BITS);
}

static void
row_clear(Row *row, guint domain)
{
    row->words[domain / WORD_BITS] &= ~(G_GUINT64_CONSTANT(1) << (domain % WORD_BITS));
}

static Row
row_of_range(Range domains)
{
    Row row = {{0}};

    for (guint domain = domains.first; domain <= domains.last; domain++)
        row_set(&row, domain);
    return row;
}

static Row
row_intersection(const Row *a, const Row *b)
{
    Row row;

    for (guint i = 0; i < WORDS_PER_ROW; i++)
        row.words[i] = a->words[i] & b->words[i];
    return row;
}

static Row
row_without(const Row *a, const Row *b)
{
    Row row;

    for (guint i = 0; i < WORDS_PER_ROW; i++)
        row.words[i] = a->words[i] & ~b->words[i];
    return row;
}

static gboolean
row_is_empty(const Row *row)
{
    guint64 any = 0;

    for (guint i = 0; i < WORDS_PER_ROW; i++)
        any |= row->words[i];
    return any == 0;
}

static gboolean
row_includes(const Row *row, const Row *part)
{
    Row missing = row_without(part, row);

    return row_is_empty(&missing);
}

static guint
row_count(const Row *row)
{
    guint count = 0;

    for (guint i = 0; i < WORDS_PER_ROW; i++)
        count += (guint)__builtin_popcountll(row->words[i]);
    return count;
}

/* Returns: FALSE when the row is empty; @ret_domain is then untouched. */
static gboolean
row_first(const Row *row, guint *ret_domain)
{
    for (guint i = 0; i < WORDS_PER_ROW; i++) {
        if (row->words[i] != 0) {
            *ret_domain = i * WORD_BITS + (guint)__builtin_ctzll(row->words[i]);
            return TRUE;
        }
    }
    return FALSE;
}

/* The longest range within @row around @domain, which is in it. */
static Range
row_run(const Row *row, guint domain)
{
    Range run = {domain, domain};

    while (run.first > whole.first && row_has(row, run.first - 1))
        run.first--;
    while (run.last < whole.last && row_has(row, run.last + 1))
        run.last++;
    return run;
}

/* --- reading ------------------------------------------------------------------------------------- */

typedef struct {
    const char *name;
    guint max_digits;
} Half;

static const Half adapter_half = {"an adapter", 2};
static const Half domain_half = {"a domain", 4};

typedef struct {
    const char *text;
    const char *at;
} Cursor;

/* Returns: FALSE, with the position of the cursor in the sentence. */
static gboolean G_GNUC_PRINTF(3, 4) fail(const Cursor *cursor, GError **error, const char *format, ...)
{
    va_list args;
    g_autofree char *problem = NULL;

    va_start(args, format);
    problem = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, APMIG_ERROR, APMIG_ERROR_INVALID_SCOPE, "The scope is wrong at position %zu: %s.",
                (gsize)(cursor->at - cursor->text) + 1, problem);
    return FALSE;
}

/* What stands at the cursor, up to the end of the list's element. */
static char *
describe_found(const Cursor *cursor)
{
    gsize length = strcspn(cursor->at, ",");
    g_autofree char *element = g_strndup(cursor->at, MAX(length, 1));
    g_autofree char *excerpt = apmig_error_excerpt(element);

    return *cursor->at == '\0' ? g_strdup("its end") : g_strdup_printf("\"%s\"", excerpt);
}

static gboolean
fail_unexpected(const Cursor *cursor, GError **error, const char *expected)
{
    g_autofree char *found = describe_found(cursor);

    return fail(cursor, error, "expected %s, found %s", expected, found);
}

static gboolean
parse_number(Cursor *cursor, const Half *half, guint *ret_number, GError **error)
{
    gsize digits = strspn(cursor->at, "0123456789abcdefABCDEF");
    guint number = 0;

    if (digits == 0) {
        g_autofree char *expected =
            g_strdup_printf("%s of 1 to %u hexadecimal digits or \"*\"", half->name, half->max_digits);
        return fail_unexpected(cursor, error, expected);
    }
    for (gsize i = 0; i < MIN(digits, half->max_digits); i++)
        number = number * 16 + (guint)g_ascii_xdigit_value(cursor->at[i]);
    if (digits > half->max_digits || number > whole.last) {
        g_autofree char *found = describe_found(cursor);
        return fail(cursor, error, "%s has at most %u hexadecimal digits and is at most ff, found %s",
                    half->name, half->max_digits, found);
    }
    cursor->at += digits;
    *ret_number = number;
    return TRUE;
}

static gboolean
parse_half(Cursor *cursor, const Half *half, Range *ret_range, GError **error)
{
    const Cursor start = *cursor;

    if (*cursor->at == '*') {
        cursor->at++;
        *ret_range = whole;
        return TRUE;
    }
    if (!parse_number(cursor, half, &ret_range->first, error))
        return FALSE;
    ret_range->last = ret_range->first;
    if (*cursor->at != '-')
        return TRUE;
    cursor->at++;
    if (!parse_number(cursor, half, &ret_range->last, error))
        return FALSE;
    if (ret_range->last < ret_range->first)
        return fail(&start, error, "the range %x-%x runs backwards, write %x-%x", ret_range->first,
                    ret_range->last, ret_range->last, ret_range->first);
    return TRUE;
}

static gboolean
parse_element(Cursor *cursor, Rectangle *ret_rectangle, GError **error)
{
    if (g_str_has_prefix(cursor->at, "all"))
        return fail(cursor, error, "\"all\" stands alone, without any other text");
    if (!parse_half(cursor, &adapter_half, &ret_rectangle->adapters, error))
        return FALSE;
    if (*cursor->at != '.')
        return fail_unexpected(cursor, error, "\".\" and a domain after the adapter");
    cursor->at++;
    return parse_half(cursor, &domain_half, &ret_rectangle->domains, error);
}

static ApmigScope *
scope_new(void)
{
    ApmigScope *scope = g_new0(ApmigScope, 1);

    g_atomic_ref_count_init(&scope->refs);
    return scope;
}

static void
scope_add_row(ApmigScope *scope, guint adapter, const Row *domains)
{
    guint64 any = 0;

    for (guint i = 0; i < WORDS_PER_ROW; i++) {
        scope->rows[adapter].words[i] |= domains->words[i];
        any |= domains->words[i];
    }
    if (any != 0)
        row_set(&scope->adapters, adapter);
}

static void
scope_add(ApmigScope *scope, const Rectangle *rectangle)
{
    Row domains = row_of_range(rectangle->domains);

    for (guint adapter = rectangle->adapters.first; adapter <= rectangle->adapters.last; adapter++)
        scope_add_row(scope, adapter, &domains);
}

static ApmigScope *
parse(const char *text, gsize max_length, GError **error)
{
    g_autoptr(ApmigScope) scope = NULL;
    Cursor cursor = {text, text};
    gsize length = strlen(text);

    if (length > max_length) {
        cursor.at += max_length;
        fail(&cursor, error,
             "it has %zu bytes and at most %zu are allowed, write it shorter with ranges and \"*\"", length,
             max_length);
        return NULL;
    }
    if (g_str_equal(text, "all"))
        return apmig_scope_new_all();
    scope = scope_new();
    for (;;) {
        Rectangle rectangle;

        if (!parse_element(&cursor, &rectangle, error))
            return NULL;
        scope_add(scope, &rectangle);
        if (*cursor.at == '\0')
            return g_steal_pointer(&scope);
        if (*cursor.at != ',') {
            fail_unexpected(&cursor, error, "\",\" or the end after a queue");
            return NULL;
        }
        cursor.at++;
    }
}

ApmigScope *
apmig_scope_parse(const char *text, GError **error)
{
    return parse(text, APMIG_SCOPE_MAX_LENGTH, error);
}

ApmigScope *
apmig_scope_parse_stored(const char *text, GError **error)
{
    if (g_str_equal(text, "none"))
        return apmig_scope_new_none();
    return parse(text, APMIG_SCOPE_MAX_STORED_LENGTH, error);
}

/* --- the canonical form -------------------------------------------------------------------------- */

/* The run of domains around the queue, grown over adapters. */
static Rectangle
grow_over_adapters(const ApmigScope *scope, guint adapter, guint domain)
{
    Rectangle rectangle = {{adapter, adapter}, row_run(&scope->rows[adapter], domain)};
    Row domains = row_of_range(rectangle.domains);

    while (rectangle.adapters.first > whole.first &&
           row_includes(&scope->rows[rectangle.adapters.first - 1], &domains))
        rectangle.adapters.first--;
    while (rectangle.adapters.last < whole.last &&
           row_includes(&scope->rows[rectangle.adapters.last + 1], &domains))
        rectangle.adapters.last++;
    return rectangle;
}

/* The run of adapters around the queue, grown over domains. */
static Rectangle
grow_over_domains(const ApmigScope *scope, guint adapter, guint domain)
{
    Rectangle rectangle = {{adapter, adapter}, {domain, domain}};
    Row common = scope->rows[adapter];

    while (rectangle.adapters.first > whole.first &&
           row_has(&scope->rows[rectangle.adapters.first - 1], domain)) {
        rectangle.adapters.first--;
        common = row_intersection(&common, &scope->rows[rectangle.adapters.first]);
    }
    while (rectangle.adapters.last < whole.last &&
           row_has(&scope->rows[rectangle.adapters.last + 1], domain)) {
        rectangle.adapters.last++;
        common = row_intersection(&common, &scope->rows[rectangle.adapters.last]);
    }
    rectangle.domains = row_run(&common, domain);
    return rectangle;
}

static guint
count_within(const Row rows[N_NUMBERS], const Rectangle *rectangle)
{
    Row domains = row_of_range(rectangle->domains);
    guint count = 0;

    for (guint adapter = rectangle->adapters.first; adapter <= rectangle->adapters.last; adapter++) {
        Row within = row_intersection(&rows[adapter], &domains);
        count += row_count(&within);
    }
    return count;
}

/* Cuts @rectangle down to what of @rows is in it, which is not nothing; a whole half stays whole. */
static void
trim(const Row rows[N_NUMBERS], Rectangle *rectangle)
{
    Row domains = row_of_range(rectangle->domains), seen = {{0}};
    Range adapters = {rectangle->adapters.last, rectangle->adapters.first};

    for (guint adapter = rectangle->adapters.first; adapter <= rectangle->adapters.last; adapter++) {
        Row within = row_intersection(&rows[adapter], &domains);

        if (row_count(&within) == 0)
            continue;
        adapters.first = MIN(adapters.first, adapter);
        adapters.last = MAX(adapters.last, adapter);
        for (guint i = 0; i < WORDS_PER_ROW; i++)
            seen.words[i] |= within.words[i];
    }
    if (!range_is_whole(rectangle->adapters))
        rectangle->adapters = adapters;
    if (!range_is_whole(rectangle->domains)) {
        while (!row_has(&seen, rectangle->domains.first))
            rectangle->domains.first++;
        while (!row_has(&seen, rectangle->domains.last))
            rectangle->domains.last--;
    }
}

static void
append_half(GString *text, Range range, int digits)
{
    if (range_is_whole(range))
        g_string_append_c(text, '*');
    else if (range.first == range.last)
        g_string_append_printf(text, "%0*x", digits, range.first);
    else
        g_string_append_printf(text, "%0*x-%0*x", digits, range.first, digits, range.last);
}

static void
append_rectangle(GString *text, const Rectangle *rectangle)
{
    if (text->len > 0)
        g_string_append_c(text, ',');
    append_half(text, rectangle->adapters, 2);
    g_string_append_c(text, '.');
    append_half(text, rectangle->domains, 4);
}

static char *
format(const ApmigScope *scope)
{
    static const Rectangle everything = {{0, N_NUMBERS - 1}, {0, N_NUMBERS - 1}};
    GString *text = NULL;
    Row unlisted[N_NUMBERS];
    guint domain;

    if (apmig_scope_is_none(scope))
        return g_strdup("none");
    if (count_within(scope->rows, &everything) == N_NUMBERS * N_NUMBERS)
        return g_strdup("all");
    text = g_string_new(NULL);
    memcpy(unlisted, scope->rows, sizeof unlisted);
    for (guint adapter = 0; adapter < N_NUMBERS; adapter++) {
        while (row_first(&unlisted[adapter], &domain)) {
            Rectangle best = grow_over_adapters(scope, adapter, domain);
            Rectangle other = grow_over_domains(scope, adapter, domain);
            Row listed;

            if (count_within(unlisted, &other) > count_within(unlisted, &best))
                best = other;
            trim(unlisted, &best);
            append_rectangle(text, &best);
            listed = row_of_range(best.domains);
            for (guint i = best.adapters.first; i <= best.adapters.last; i++)
                unlisted[i] = row_without(&unlisted[i], &listed);
        }
    }
    return g_string_free(text, FALSE);
}

const char *
apmig_scope_to_string(const ApmigScope *scope)
{
    /* The text is a cache: filling it changes nothing that a caller can see. */
    char **cache = &((ApmigScope *)scope)->text;

    if (g_once_init_enter(cache))
        g_once_init_leave(cache, format(scope));
    return *cache;
}

/* --- the set ------------------------------------------------------------------------------------- */

ApmigScope *
apmig_scope_new_all(void)
{
    ApmigScope *scope = scope_new();

    memset(scope->rows, 0xff, sizeof scope->rows);
    memset(&scope->adapters, 0xff, sizeof scope->adapters);
    return scope;
}

ApmigScope *
apmig_scope_new_none(void)
{
    return scope_new();
}

ApmigScope *
apmig_scope_new_from_queues(const ApmigApqn *queues, gsize n_queues)
{
    ApmigScope *scope = scope_new();

    for (gsize i = 0; i < n_queues; i++) {
        Row domain = {{0}};

        if (queues[i].adapter >= N_NUMBERS || queues[i].domain >= N_NUMBERS)
            continue;
        row_set(&domain, queues[i].domain);
        scope_add_row(scope, queues[i].adapter, &domain);
    }
    return scope;
}

ApmigScope *
apmig_scope_union(const ApmigScope *a, const ApmigScope *b)
{
    ApmigScope *scope = scope_new();

    for (guint adapter = 0; adapter < N_NUMBERS; adapter++) {
        scope_add_row(scope, adapter, &a->rows[adapter]);
        scope_add_row(scope, adapter, &b->rows[adapter]);
    }
    return scope;
}

ApmigScope *
apmig_scope_without(const ApmigScope *a, const ApmigScope *b)
{
    ApmigScope *scope = scope_new();

    for (guint adapter = 0; adapter < N_NUMBERS; adapter++) {
        Row rest = row_without(&a->rows[adapter], &b->rows[adapter]);

        scope_add_row(scope, adapter, &rest);
    }
    return scope;
}

ApmigScope *
apmig_scope_ref(ApmigScope *scope)
{
    g_atomic_ref_count_inc(&scope->refs);
    return scope;
}

void
apmig_scope_unref(ApmigScope *scope)
{
    if (!scope || !g_atomic_ref_count_dec(&scope->refs))
        return;
    g_free(scope->text);
    g_free(scope);
}

gboolean
apmig_scope_overlaps(const ApmigScope *a, const ApmigScope *b)
{
    Row adapters = row_intersection(&a->adapters, &b->adapters);
    guint adapter;

    for (; row_first(&adapters, &adapter); row_clear(&adapters, adapter)) {
        Row common = row_intersection(&a->rows[adapter], &b->rows[adapter]);

        if (!row_is_empty(&common))
            return TRUE;
    }
    return FALSE;
}

gboolean
apmig_scope_is_within(const ApmigScope *inner, const ApmigScope *outer)
{
    Row adapters = inner->adapters;
    guint adapter;

    for (; row_first(&adapters, &adapter); row_clear(&adapters, adapter))
        if (!row_includes(&outer->rows[adapter], &inner->rows[adapter]))
            return FALSE;
    return TRUE;
}

gboolean
apmig_scope_equal(const ApmigScope *a, const ApmigScope *b)
{
    return memcmp(a->rows, b->rows, sizeof a->rows) == 0;
}

gboolean
apmig_scope_is_none(const ApmigScope *scope)
{
    return row_is_empty(&scope->adapters);
}

gboolean
apmig_scope_contains(const ApmigScope *scope, guint adapter, guint domain)
{
    return adapter < N_NUMBERS && domain < N_NUMBERS && row_has(&scope->rows[adapter], domain);
}
