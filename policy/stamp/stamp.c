/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "stamp/private.h"

#include <string.h>

#include "ap/find.h"

/* --- values -------------------------------------------------------------------------------------- */

void
apmig_stamp_lock_free(ApmigStampLock *lock)
{
    if (!lock)
        return;
    g_free(lock->id);
    g_free(lock->reason);
    g_free(lock->owner);
    g_free(lock);
}

void
apmig_stamp_free(ApmigStamp *stamp)
{
    if (!stamp)
        return;
    g_free(stamp->host_id);
    g_free(stamp->host_name);
    apmig_ap_view_free(stamp->view);
    g_free(stamp->device);
    apmig_evidence_free(stamp->keys);
    g_free(stamp->digest);
    apmig_stamp_lock_free(stamp->lock);
    g_free(stamp);
}

const char *const apmig_stamp_answer_words[] = {
    [APMIG_STAMP_OK] = "allow",
    [APMIG_STAMP_WARN] = "warn",
    [APMIG_STAMP_DENY] = "deny",
    NULL,
};

const char *const apmig_stamp_form_words[] = {
    [APMIG_STAMP_OFF] = "off",
    [APMIG_STAMP_DIGEST] = "digest",
    [APMIG_STAMP_FULL] = "full",
    NULL,
};

gboolean
apmig_stamp_form_from_string(const char *text, ApmigStampForm *ret_form)
{
    for (guint i = 0; apmig_stamp_form_words[i]; i++) {
        if (g_str_equal(apmig_stamp_form_words[i], text)) {
            *ret_form = (ApmigStampForm)i;
            return TRUE;
        }
    }
    return FALSE;
}

const ApmigApViewQueue *
stamp_queue_at(const ApmigApView *view, guint index)
{
    return &g_array_index(view->queues, ApmigApViewQueue, index);
}

const ApmigEvidenceRecord *
stamp_find_key(const ApmigEvidence *keys, const ApmigApViewQueue *queue, guint key_class)
{
    if (queue->adapter >= APMIG_AP_NUMBERS || queue->domain >= APMIG_AP_NUMBERS)
        return NULL;
    return apmig_evidence_lookup(keys, queue->adapter, queue->domain, (ApmigKeyClass)key_class);
}

ApmigStamp *
apmig_stamp_new(const char *host_id, gint64 written_at, ApmigApView *view, const ApmigEvidence *evidence,
                ApmigStampLock *lock)
{
    ApmigStamp *stamp = g_new0(ApmigStamp, 1);

    stamp->host_id = g_strdup(host_id);
    stamp->written_at = written_at;
    stamp->view = view;
    stamp->keys = apmig_evidence_new();
    stamp->lock = lock;
    for (guint i = 0; view && i < view->queues->len; i++) {
        for (guint j = 0; j < APMIG_N_KEY_CLASSES; j++) {
            const ApmigEvidenceRecord *record = stamp_find_key(evidence, stamp_queue_at(view, i), j);

            if (record)
                apmig_evidence_add(stamp->keys, record, NULL);
        }
    }
    stamp->digest = view ? apmig_stamp_digest(view, stamp->keys) : g_strdup("");
    return stamp;
}

/* --- the digest ---------------------------------------------------------------------------------- */

char *
stamp_describe_cur(const ApmigEvidenceRecord *record)
{
    ApmigKeyRegister cur;

    if (!record)
        return g_strdup("unknown");
    cur = record->registers[APMIG_REGISTER_CUR];
    if (apmig_key_register_is_empty(&cur))
        return g_strdup("none");
    if (record->key_class == APMIG_KEY_WK)
        cur.length = MIN(cur.length, APMIG_MKVP_WK_BYTES);
    return apmig_key_pattern_to_string(&cur);
}

char *
apmig_stamp_canonical_keys(const ApmigApView *view, const ApmigEvidence *keys)
{
    GString *text = g_string_new("apmigd-keys 1\n");

    for (guint i = 0; i < view->queues->len; i++) {
        const ApmigApViewQueue *queue = stamp_queue_at(view, i);

        for (guint j = 0; j < APMIG_N_KEY_CLASSES; j++) {
            g_autofree char *cur = stamp_describe_cur(stamp_find_key(keys, queue, j));

            if (apmig_key_mode_has_class(queue->mode, (ApmigKeyClass)j))
                g_string_append_printf(text, "%02x.%04x %s %s\n", queue->adapter, queue->domain,
                                       apmig_key_class_to_string((ApmigKeyClass)j), cur);
        }
    }
    return g_string_free(text, FALSE);
}

char *
apmig_stamp_digest(const ApmigApView *view, const ApmigEvidence *keys)
{
    g_autofree char *text = apmig_stamp_canonical_keys(view, keys);

    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, text, -1);
}

gboolean
apmig_lock_id_is_valid(const char *text)
{
    return strspn(text, "0123456789abcdef") == APMIG_LOCK_ID_LENGTH && text[APMIG_LOCK_ID_LENGTH] == '\0';
}
