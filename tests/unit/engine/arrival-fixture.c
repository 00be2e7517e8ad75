/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/arrival-fixture.h"

void
know(ApmigEvidence *evidence, const char *text)
{
    ApmigMkvps mkvps = mkvps_of(text);

    apmig_evidence_add_reading(evidence, 4, 0x12, &mkvps, REALTIME - DAY, NULL);
}

void
restamp(Fixture *fixture, gint64 written_at, ApmigStampLock *lock)
{
    apmig_stamp_free(fixture->stamp);
    fixture->stamp = apmig_stamp_new(
        SOURCE, written_at, apmig_ap_view_new_of_device(fixture->host, fixture->host->devices->pdata[0]),
        fixture->there, lock);
    fixture->arrival.stamp = fixture->stamp;
}

void
set_policy(Fixture *fixture)
{
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_POLICY_CHANGED, .policy = fixture->story.policy});
}

void
arrival_set_up(Fixture *fixture, gconstpointer data)
{
    begin_with(&fixture->story, apmig_policy_new_default());
    fixture->host = host_new();
    host_add_card(fixture->host, 4, "CEX8C");
    host_add_queue(fixture->host, 4, 0x12, "vfio_ap");
    host_add_device(fixture->host, MDEV, "04.0012");
    fixture->host->can_migrate = TRUE;
    fixture->here = apmig_evidence_new();
    fixture->there = apmig_evidence_new();
    know(fixture->here, KEY_A);
    know(fixture->there, KEY_A);
    restamp(fixture, REALTIME - DAY, NULL);
    fixture->arrival = (ApmigArrival){.has_device = TRUE,
                                      .device = MDEV,
                                      .stamp = fixture->stamp,
                                      .evidence = fixture->here,
                                      .host = fixture->host,
                                      .host_id = HERE};
    fixture->affected = APMIG_AFFECTED_YES;
    load(&fixture->story, NULL, NULL);
    g_ptr_array_set_size(fixture->story.actions, 0);
}

void
arrival_tear_down(Fixture *fixture, gconstpointer data)
{
    end(&fixture->story);
    apmig_arrival_check_free(fixture->check);
    apmig_stamp_free(fixture->stamp);
    apmig_evidence_free(fixture->here);
    apmig_evidence_free(fixture->there);
    apmig_ap_host_free(fixture->host);
    apmig_scope_unref(fixture->scope);
}

void
permit(Fixture *fixture)
{
    tell(&fixture->story, (ApmigEvent){.type = APMIG_EVENT_PERMIT,
                                       .caller = 8,
                                       .permit = {.id = "aaaaaaaa",
                                                  .uuid = G1,
                                                  .name = "",
                                                  .reason = "host dies",
                                                  .user = "dora",
                                                  .duration_usec = 60 * G_USEC_PER_SEC}});
}
