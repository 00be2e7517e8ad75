/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stamp.h"

#include "guest/stamp-xml.h"

#include <string.h>

#define UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"

/* --- equality ------------------------------------------------------------------------------------ */

static void
assert_equal_locks(const ApmigStampLock *a, const ApmigStampLock *b)
{
    g_assert_true(!a == !b);
    if (!a)
        return;
    g_assert_cmpstr(a->id, ==, b->id);
    g_assert_cmpstr(a->owner, ==, b->owner);
    g_assert_cmpstr(a->reason, ==, b->reason);
    g_assert_cmpint(a->since, ==, b->since);
}

static void
assert_equal_views(const ApmigApView *a, const ApmigApView *b)
{
    g_assert_true(!a == !b);
    if (!a)
        return;
    g_assert_cmpint(a->has_control_domains, ==, b->has_control_domains);
    g_assert_cmpmem(&a->control_domains, sizeof a->control_domains, &b->control_domains,
                    sizeof b->control_domains);
    g_assert_cmpuint(a->queues->len, ==, b->queues->len);
    for (guint i = 0; i < a->queues->len; i++) {
        const ApmigApViewQueue *one = &g_array_index(a->queues, ApmigApViewQueue, i);
        const ApmigApViewQueue *other = &g_array_index(b->queues, ApmigApViewQueue, i);

        g_assert_cmpuint(one->adapter, ==, other->adapter);
        g_assert_cmpuint(one->domain, ==, other->domain);
        g_assert_cmpuint(one->functions, ==, other->functions);
        g_assert_cmpuint(one->known_functions, ==, other->known_functions);
        g_assert_cmpuint(one->raw_hwtype, ==, other->raw_hwtype);
        g_assert_cmpint(one->mode, ==, other->mode);
    }
}

static void
assert_equal_keys(const ApmigEvidence *a, const ApmigEvidence *b)
{
    g_autoptr(GPtrArray) a_records = a ? apmig_evidence_list(a) : g_ptr_array_new();
    g_autoptr(GPtrArray) b_records = b ? apmig_evidence_list(b) : g_ptr_array_new();

    g_assert_true(!a == !b);
    g_assert_cmpuint(a_records->len, ==, b_records->len);
    for (guint i = 0; i < a_records->len; i++) {
        const ApmigEvidenceRecord *one = a_records->pdata[i], *other = b_records->pdata[i];

        g_assert_cmpuint(one->adapter, ==, other->adapter);
        g_assert_cmpuint(one->domain, ==, other->domain);
        g_assert_cmpint(one->key_class, ==, other->key_class);
        g_assert_cmpint(one->evidence, ==, other->evidence);
        g_assert_cmpmem(one->registers, sizeof one->registers, other->registers, sizeof other->registers);
        g_assert_cmpint(one->at, ==, other->at);
        g_assert_cmpstr(one->source, ==, other->source);
    }
}

/* --- there and back ------------------------------------------------------------------------------ */

GString *
fuzz_stamp_make_domain(const char *metadata, gsize length)
{
    GString *text = g_string_new("<domain><name>g1</name><uuid>" UUID "</uuid><metadata>");

    g_string_append_len(text, metadata, (gssize)length);
    g_string_append(text, "</metadata></domain>");
    return text;
}

/* As libvirt does it: virXMLInjectNamespace(). */
static char *
inject_namespace(const char *xml)
{
    g_auto(GStrv) open = g_strsplit(xml, "<", -1);
    GString *text = g_string_new(NULL);

    for (guint i = 1; open[i]; i++)
        g_string_append_printf(text, "<%sapmigd:%s", *open[i] == '/' ? "/" : "",
                               *open[i] == '/' ? open[i] + 1 : open[i]);
    g_string_insert(text, (gssize)strlen("<apmigd:stamp"), " xmlns:apmigd='" APMIG_STAMP_NAMESPACE "'");
    return g_string_free(text, FALSE);
}

/* Returns: (transfer full): the guest that has it. */
static ApmigGuest *
write_and_read(const ApmigStamp *stamp, ApmigStampForm form)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *xml = apmig_stamp_to_xml(stamp, form);
    g_autofree char *element = inject_namespace(xml);
    g_autoptr(GString) domain = fuzz_stamp_make_domain(element, strlen(element));
    ApmigGuest *guest = apmig_guest_parse(domain->str, domain->len, &error);
    g_autoptr(ApmigStamp) taken = NULL;

    g_assert_no_error(error);
    g_assert_cmpuint(strlen(xml), <=, APMIG_STAMP_MAX_BYTES);
    taken = apmig_stamp_from_xml(xml, &error); /* by who writes it into a guest */
    g_assert_no_error(error);
    g_assert_nonnull(taken);
    g_assert_cmpstr(guest->stamp_problem, ==, NULL);
    g_assert_nonnull(guest->stamp);
    g_assert_cmpstr(guest->stamp->host_id, ==, stamp->host_id);
    g_assert_cmpint(guest->stamp->written_at, ==, stamp->written_at);
    g_assert_cmpstr(guest->stamp->digest, ==, stamp->digest);
    return guest;
}

void
fuzz_stamp_check_survives(const ApmigStamp *stamp)
{
    g_autoptr(ApmigGuest) full = write_and_read(stamp, APMIG_STAMP_FULL);
    g_autoptr(ApmigGuest) digest = write_and_read(stamp, APMIG_STAMP_DIGEST);

    assert_equal_locks(full->stamp->lock, stamp->lock);
    assert_equal_locks(digest->stamp->lock, stamp->lock);
    assert_equal_views(full->stamp->view, stamp->view);
    assert_equal_keys(full->stamp->keys, stamp->keys);
    /* The digest gives no key away, and nothing of the hardware that it is not made of. */
    g_assert_null(digest->stamp->keys);
    g_assert_true(!digest->stamp->view == !stamp->view);
    for (guint i = 0; stamp->view && i < stamp->view->queues->len; i++)
        g_assert_cmpuint(g_array_index(digest->stamp->view->queues, ApmigApViewQueue, i).functions, ==, 0);
}

void
fuzz_stamp_check_lock_travels(const ApmigStamp *stamp)
{
    g_autoptr(ApmigGuest) guest = write_and_read(stamp, APMIG_STAMP_FULL);

    g_assert_nonnull(guest->stamp->lock);
    g_assert_cmpstr(guest->stamp->lock->id, ==, stamp->lock->id);
    g_assert_cmpint(guest->stamp->lock->since, ==, stamp->lock->since);
    g_assert_true((*stamp->lock->reason == '\0') == (*guest->stamp->lock->reason == '\0'));
}
