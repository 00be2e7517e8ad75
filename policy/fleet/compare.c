/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fleet/compare.h"

#include "base/sentence.h"

#define NONE "none"

/* What one host knows of one key. */
typedef struct {
    const char *host; /* its name */
    const ApmigEvidenceRecord *record;
} Told;

/* --- values --------------------------------------------------------------------------------------- */

const char *
apmig_fleet_key_standing_to_string(ApmigFleetKeyStanding standing)
{
    static const char *const words[] = {
        [APMIG_FLEET_KEY_UNKNOWN] = "unknown",       [APMIG_FLEET_KEY_IN_PART] = "in-part",
        [APMIG_FLEET_KEY_IN_STEP] = "in-step",       [APMIG_FLEET_KEY_DIFFERS] = "differs",
        [APMIG_FLEET_KEY_UNFINISHED] = "unfinished",
    };

    g_return_val_if_fail((guint)standing < G_N_ELEMENTS(words), "unknown");
    return words[standing];
}

static void
value_free(gpointer data)
{
    ApmigFleetKeyValue *value = data;

    g_free(value->value);
    g_ptr_array_unref(value->hosts);
    g_free(value);
}

static void
finding_free(gpointer data)
{
    ApmigFleetKeyFinding *finding = data;

    g_ptr_array_unref(finding->values);
    g_ptr_array_unref(finding->unknown);
    g_free(finding->clause);
    g_free(finding);
}

static ApmigFleetKeyFinding *
finding_new(const ApmigEvidenceRecord *record, ApmigRegister reg)
{
    ApmigFleetKeyFinding *finding = g_new0(ApmigFleetKeyFinding, 1);

    finding->adapter = record->adapter;
    finding->domain = record->domain;
    finding->key_class = record->key_class;
    finding->reg = reg;
    finding->values = g_ptr_array_new_with_free_func(value_free);
    finding->unknown = g_ptr_array_new_with_free_func(g_free);
    return finding;
}

/* Returns: (transfer full) (nullable): what the register shows; NULL: it is not known. */
static char *
show(const ApmigEvidenceRecord *record, ApmigRegister reg)
{
    ApmigKeyRegister shown = record->registers[reg];
    g_autofree char *pattern = NULL;

    if (record->evidence == APMIG_EVIDENCE_UNKNOWN || record->contradicted)
        return NULL;
    if (apmig_key_register_is_empty(&shown))
        return g_strdup(NONE);
    if (record->key_class == APMIG_KEY_WK)
        shown.length = MIN(shown.length, APMIG_MKVP_WK_BYTES);
    pattern = apmig_key_pattern_to_string(&shown);
    if (reg == APMIG_REGISTER_NEW)
        return apmig_key_register_is_pending(&shown)
                   ? g_strdup_printf("%s%s%s", apmig_key_state_to_string(shown.state),
                                     shown.length ? " " : "", shown.length ? pattern : "")
                   : NULL;
    return shown.length > 0 ? g_steal_pointer(&pattern) : NULL;
}

static void
add_value(ApmigFleetKeyFinding *finding, const char *text, const char *host)
{
    ApmigFleetKeyValue *value = NULL;

    for (guint i = 0; i < finding->values->len && !value; i++) {
        ApmigFleetKeyValue *candidate = g_ptr_array_index(finding->values, i);

        if (g_str_equal(candidate->value, text))
            value = candidate;
    }
    if (!value) {
        value = g_new0(ApmigFleetKeyValue, 1);
        value->value = g_strdup(text);
        value->hosts = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(finding->values, value);
    }
    g_ptr_array_add(value->hosts, g_strdup(host));
}

/* --- one register --------------------------------------------------------------------------------- */

static int
compare_values(gconstpointer a, gconstpointer b)
{
    const ApmigFleetKeyValue *one = *(const ApmigFleetKeyValue *const *)a;
    const ApmigFleetKeyValue *other = *(const ApmigFleetKeyValue *const *)b;

    if (one->hosts->len != other->hosts->len)
        return one->hosts->len > other->hosts->len ? -1 : 1;
    return g_strcmp0(one->value, other->value);
}

/* An OLD that is empty holds no key that could be another one: a card that has been replaced has none. */
static guint
count_keys(const ApmigFleetKeyFinding *finding)
{
    guint n = 0;

    for (guint i = 0; i < finding->values->len; i++) {
        const ApmigFleetKeyValue *value = g_ptr_array_index(finding->values, i);

        n += finding->reg == APMIG_REGISTER_CUR || !g_str_equal(value->value, NONE);
    }
    return n;
}

static ApmigFleetKeyStanding
standing_of(const ApmigFleetKeyFinding *finding)
{
    guint n_keys = count_keys(finding);

    if (finding->reg == APMIG_REGISTER_NEW && n_keys > 0)
        return APMIG_FLEET_KEY_UNFINISHED;
    if (n_keys > 1)
        return APMIG_FLEET_KEY_DIFFERS;
    if (finding->values->len == 0)
        return APMIG_FLEET_KEY_UNKNOWN;
    return finding->unknown->len > 0 ? APMIG_FLEET_KEY_IN_PART : APMIG_FLEET_KEY_IN_STEP;
}

/* "AES CUR of AP queue 04.0012 is 0x... on kvm1, kvm2 but 0x... on kvm3" */
static char *
describe(const ApmigFleetKeyFinding *finding)
{
    g_autoptr(GPtrArray) parts = g_ptr_array_new_with_free_func(g_free);
    g_autofree char *unknown = apmig_sentence_few(finding->unknown, ", ");
    g_autofree char *few = NULL;

    for (guint i = 0; i < finding->values->len; i++) {
        const ApmigFleetKeyValue *value = g_ptr_array_index(finding->values, i);
        g_autofree char *hosts = apmig_sentence_few(value->hosts, ", ");

        g_ptr_array_add(parts, g_strdup_printf("%s on %s", value->value, hosts));
    }
    if (parts->len == 0)
        g_ptr_array_add(parts, g_strdup_printf("not known on %s", unknown));
    few = apmig_sentence_few(parts, " but ");
    return g_strdup_printf("%s %s of AP queue %02x.%04x is %s", apmig_key_class_to_string(finding->key_class),
                           apmig_register_to_string(finding->reg), finding->adapter, finding->domain, few);
}

/* @told: (element-type Told): of one queue and class
 * @findings: gets one, if there is something to say of that register */
static void
compare_register(const GArray *told, ApmigRegister reg, GPtrArray *findings)
{
    ApmigFleetKeyFinding *finding = finding_new(g_array_index(told, Told, 0).record, reg);

    for (guint i = 0; i < told->len; i++) {
        const Told *one = &g_array_index(told, Told, i);
        g_autofree char *value = show(one->record, reg);

        if (value)
            add_value(finding, value, one->host);
        else
            g_ptr_array_add(finding->unknown, g_strdup(one->host));
    }
    finding->standing = standing_of(finding);
    if (reg != APMIG_REGISTER_CUR && finding->standing < APMIG_FLEET_KEY_UNFINISHED) {
        finding_free(finding);
        return;
    }
    g_ptr_array_sort(finding->values, compare_values);
    finding->clause = describe(finding);
    g_ptr_array_add(findings, finding);
}

/* --- across hosts --------------------------------------------------------------------------------- */

static guint
number_of_domain(const ApmigEvidenceRecord *record)
{
    return record->domain * APMIG_N_KEY_CLASSES + (guint)record->key_class;
}

static guint
number_of_queue(const ApmigEvidenceRecord *record)
{
    return number_of_domain(record) * APMIG_AP_NUMBERS + record->adapter;
}

/* What hosts told, by domain, class and adapter. */
static int
compare_told(gconstpointer a, gconstpointer b)
{
    const Told *one = a, *other = b;
    guint x = number_of_queue(one->record), y = number_of_queue(other->record);

    if (x != y)
        return x < y ? -1 : 1;
    return g_strcmp0(one->host, other->host);
}

static gboolean
is_asked(const ApmigScope *scope, const ApmigEvidenceRecord *record)
{
    return apmig_scope_contains(scope, record->adapter, record->domain);
}

/* @told: (element-type Told): of one queue and class */
static void
compare_hosts(const GArray *told, const ApmigScope *scope, GPtrArray *findings)
{
    if (!is_asked(scope, g_array_index(told, Told, 0).record))
        return;
    for (guint i = 0; i < APMIG_N_REGISTERS; i++)
        compare_register(told, (ApmigRegister)i, findings);
}

/* --- within a host -------------------------------------------------------------------------------- */

/* @told: (element-type Told): of one host, domain and class. Returns: (nullable): the first that has a key, one of the scope
 * if there is one. */
static const ApmigEvidenceRecord *
find_reference(const GArray *told, const ApmigScope *scope)
{
    const ApmigEvidenceRecord *reference = NULL;

    for (guint i = 0; i < told->len; i++) {
        const ApmigEvidenceRecord *record = g_array_index(told, Told, i).record;
        g_autofree char *value = show(record, APMIG_REGISTER_CUR);

        if (!value || g_str_equal(value, NONE))
            continue;
        if (is_asked(scope, record))
            return record;
        reference = reference ? reference : record;
    }
    return reference;
}

static void
compare_adapters(const Told *one, const ApmigEvidenceRecord *reference, GPtrArray *findings)
{
    g_autofree char *value = show(one->record, APMIG_REGISTER_CUR);
    g_autofree char *expected = show(reference, APMIG_REGISTER_CUR);
    ApmigFleetKeyFinding *finding;

    if (!value || g_str_equal(value, expected))
        return;
    finding = finding_new(one->record, APMIG_REGISTER_CUR);
    finding->standing = APMIG_FLEET_KEY_DIFFERS;
    add_value(finding, expected, one->host);
    add_value(finding, value, one->host);
    finding->clause =
        g_strdup_printf("%s CUR of AP queue %02x.%04x is %s on %s but %s in %02x.%04x there",
                        apmig_key_class_to_string(finding->key_class), reference->adapter, finding->domain,
                        expected, one->host, value, finding->adapter, finding->domain);
    g_ptr_array_add(findings, finding);
}

static void
compare_domain(const GArray *told, const ApmigScope *scope, GPtrArray *findings)
{
    const ApmigEvidenceRecord *reference = find_reference(told, scope);

    for (guint i = 0; reference && i < told->len; i++) {
        const Told *one = &g_array_index(told, Told, i);

        if (is_asked(scope, one->record) || is_asked(scope, reference))
            compare_adapters(one, reference, findings);
    }
}

/* --- runs of what is sorted ----------------------------------------------------------------------- */

typedef guint (*Number)(const ApmigEvidenceRecord *);
typedef void (*Compare)(const GArray *told, const ApmigScope *scope, GPtrArray *findings);

/* Calls @compare with each run of one @number.
 * @told: (element-type Told): sorted */
static void
compare_runs(const GArray *told, Number number, Compare compare, const ApmigScope *scope, GPtrArray *findings)
{
    guint end;

    for (guint begin = 0; begin < told->len; begin = end) {
        guint its_number = number(g_array_index(told, Told, begin).record);
        g_autoptr(GArray) run = g_array_new(FALSE, FALSE, sizeof(Told));

        for (end = begin; end < told->len && number(g_array_index(told, Told, end).record) == its_number;
             end++)
            g_array_append_val(run, g_array_index(told, Told, end));
        compare(run, scope, findings);
    }
}

/* --- all ------------------------------------------------------------------------------------------ */

static int
compare_findings(gconstpointer a, gconstpointer b)
{
    const ApmigFleetKeyFinding *one = *(const ApmigFleetKeyFinding *const *)a;
    const ApmigFleetKeyFinding *other = *(const ApmigFleetKeyFinding *const *)b;
    const guint x[] = {one->adapter, one->domain, one->key_class, one->reg, one->standing};
    const guint y[] = {other->adapter, other->domain, other->key_class, other->reg, other->standing};

    for (guint i = 0; i < G_N_ELEMENTS(x); i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return g_strcmp0(one->clause, other->clause);
}

/* Returns: (transfer full) (element-type Told): those of one host, sorted */
static GArray *
collect(const ApmigFleetMember *member, const ApmigFleetKeys *keys)
{
    GArray *told = g_array_new(FALSE, FALSE, sizeof(Told));

    for (guint i = 0; i < keys->records->len; i++)
        g_array_append_val(told, ((Told){member->name, g_ptr_array_index(keys->records, i)}));
    g_array_sort(told, compare_told);
    return told;
}

GPtrArray *
apmig_fleet_compare_keys(const ApmigFleetDocument *document, const ApmigScope *scope, const GPtrArray *keys)
{
    GPtrArray *findings = g_ptr_array_new_with_free_func(finding_free);
    g_autoptr(GArray) all = g_array_new(FALSE, FALSE, sizeof(Told));

    for (guint i = 0; i < keys->len; i++) {
        const ApmigFleetKeys *host = g_ptr_array_index(keys, i);
        const ApmigFleetMember *member = apmig_fleet_document_find_member(document, host->head.host);
        g_autoptr(GArray) told = member && !host->head.problem ? collect(member, host) : NULL;

        if (!told)
            continue;
        compare_runs(told, number_of_domain, compare_domain, scope, findings);
        g_array_append_vals(all, told->data, told->len);
    }
    g_array_sort(all, compare_told);
    compare_runs(all, number_of_queue, compare_hosts, scope, findings);
    g_ptr_array_sort(findings, compare_findings);
    return findings;
}
