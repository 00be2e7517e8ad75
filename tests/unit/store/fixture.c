/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/fixture.h"

#include "base/boot-time.h"

#include <ftw.h>
#include <glib/gstdio.h>
#include <stdio.h>

/* --- folders ------------------------------------------------------------------------------------- */

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *place)
{
    return remove(path);
}

void
fixture_set_up(Fixture *fixture, gconstpointer data)
{
    fixture->base = g_dir_make_tmp("apmigd-test-XXXXXX", NULL);
    g_assert_nonnull(fixture->base);
    fixture->state = g_build_filename(fixture->base, "state", NULL);
    fixture->runtime = g_build_filename(fixture->base, "runtime", NULL);
}

void
fixture_tear_down(Fixture *fixture, gconstpointer data)
{
    fixture_close(fixture);
    nftw(fixture->base, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    g_free(fixture->base);
    g_free(fixture->state);
    g_free(fixture->runtime);
    g_free(fixture->last_error);
}

char *
fixture_path(Fixture *fixture, const char *folder, const char *name)
{
    return g_build_filename(fixture->base, folder, name, NULL);
}

void
fixture_put(Fixture *fixture, const char *folder, const char *name, const char *text, gssize length)
{
    g_autofree char *dir = g_build_filename(fixture->base, folder, NULL);
    g_autofree char *path = fixture_path(fixture, folder, name);
    g_autoptr(GError) error = NULL;

    g_assert_cmpint(g_mkdir_with_parents(dir, 0700), ==, 0);
    g_file_set_contents(path, text, length, &error);
    g_assert_no_error(error);
}

gboolean
fixture_has(Fixture *fixture, const char *folder, const char *name)
{
    g_autofree char *path = fixture_path(fixture, folder, name);
    GStatBuf st;

    return g_lstat(path, &st) == 0;
}

guint
fixture_count(Fixture *fixture, const char *folder)
{
    g_autofree char *path = g_build_filename(fixture->base, folder, NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    guint n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    return n;
}

/* --- the store ----------------------------------------------------------------------------------- */

static void
note_answer(const ApmigEvent *event, gpointer user_data)
{
    Fixture *fixture = user_data;

    fixture->n_answers++;
    fixture->last_op = event->persisted.op;
    g_free(fixture->last_error);
    fixture->last_error = g_strdup(event->persisted.error);
}

static void
note_loaded(const ApmigStoreLoaded *loaded, gpointer user_data)
{
    Fixture *fixture = user_data;

    g_assert_no_error(loaded->error);
    fixture->locks = g_ptr_array_ref(loaded->locks);
    fixture->admissions = g_ptr_array_ref(loaded->admissions);
    fixture->permits = g_ptr_array_ref(loaded->permits);
    fixture->declared = g_ptr_array_ref(loaded->declared);
    fixture->damage = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < loaded->damage->len; i++)
        g_ptr_array_add(fixture->damage, g_strdup(g_ptr_array_index(loaded->damage, i)));
}

void
fixture_open(Fixture *fixture)
{
    static const ApmigStoreFuncs funcs = {note_answer, note_loaded};
    g_autoptr(GError) error = NULL;

    fixture->store = apmig_store_open(fixture->state, fixture->runtime, &error);
    g_assert_no_error(error);
    apmig_store_start(fixture->store, &funcs, fixture);
    g_assert_true(apmig_store_wait_until_loaded(fixture->store, 60 * (gint64)G_USEC_PER_SEC));
    while (g_main_context_iteration(NULL, FALSE)) /* that is known already */
        ;
}

void
fixture_close(Fixture *fixture)
{
    g_clear_pointer(&fixture->store, apmig_store_free);
    g_clear_pointer(&fixture->locks, g_ptr_array_unref);
    g_clear_pointer(&fixture->admissions, g_ptr_array_unref);
    g_clear_pointer(&fixture->permits, g_ptr_array_unref);
    g_clear_pointer(&fixture->damage, g_ptr_array_unref);
    g_clear_pointer(&fixture->declared, g_ptr_array_unref);
}

void
fixture_reopen(Fixture *fixture)
{
    fixture_close(fixture);
    fixture_open(fixture);
}

void
fixture_wait(Fixture *fixture, guint n_answers)
{
    while (fixture->n_answers < n_answers)
        g_main_context_iteration(NULL, TRUE);
}

ApmigAction *
test_action_new(ApmigActionType type, guint64 op)
{
    ApmigAction *action = g_new0(ApmigAction, 1);

    action->type = type;
    action->op = op;
    return action;
}

void
fixture_ask_lock(Fixture *fixture, ApmigActionType type, guint64 op, const ApmigLockRecord *record)
{
    ApmigAction *action = test_action_new(type, op);

    action->lock = apmig_lock_record_copy(record);
    apmig_store_carry_out(fixture->store, action);
}

void
fixture_ask_removal(Fixture *fixture, const char *uuid)
{
    ApmigAction *action = test_action_new(APMIG_ACTION_REMOVE_ADMISSION, 0);

    action->admission = g_new0(ApmigAdmission, 1);
    action->admission->uuid = g_strdup(uuid);
    apmig_store_carry_out(fixture->store, action);
}

const char *
fixture_persist(Fixture *fixture, const ApmigLockRecord *record)
{
    fixture_ask_lock(fixture, APMIG_ACTION_PERSIST_LOCK, fixture->last_op + 1, record);
    fixture_wait(fixture, fixture->n_answers + 1);
    return fixture->last_error;
}

const char *
fixture_remove(Fixture *fixture, const ApmigLockRecord *record)
{
    fixture_ask_lock(fixture, APMIG_ACTION_REMOVE_LOCK, fixture->last_op + 1, record);
    fixture_wait(fixture, fixture->n_answers + 1);
    return fixture->last_error;
}

const char *
fixture_persist_admission(Fixture *fixture, const ApmigAdmission *admission)
{
    ApmigAction *action = test_action_new(APMIG_ACTION_PERSIST_ADMISSION, fixture->last_op + 1);

    action->admission = apmig_admission_copy(admission);
    apmig_store_carry_out(fixture->store, action);
    fixture_wait(fixture, fixture->n_answers + 1);
    return fixture->last_error;
}

static const char *
ask_permit(Fixture *fixture, ApmigActionType type, const ApmigPermit *permit)
{
    ApmigAction *action = test_action_new(type, fixture->last_op + 1);

    action->permit = apmig_permit_copy(permit);
    apmig_store_carry_out(fixture->store, action);
    fixture_wait(fixture, fixture->n_answers + 1);
    return fixture->last_error;
}

const char *
fixture_persist_permit(Fixture *fixture, const ApmigPermit *permit)
{
    return ask_permit(fixture, APMIG_ACTION_PERSIST_PERMIT, permit);
}

const char *
fixture_remove_permit(Fixture *fixture, const ApmigPermit *permit)
{
    return ask_permit(fixture, APMIG_ACTION_REMOVE_PERMIT, permit);
}

/* --- what is stored ------------------------------------------------------------------------------ */

ApmigLockRecord *
test_record_new(const char *id)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);

    record->id = g_strdup(id);
    record->scope = apmig_scope_parse("04.0012,*.0013", NULL);
    record->reason = g_strdup("AES rotation, \"König\" \\u0041 {[");
    record->change_id = g_strdup("CHG-1");
    record->origin = APMIG_LOCK_BY_REQUEST;
    record->owner_uid = 4294967294u;
    record->owner_name = g_strdup("alice");
    record->on_busy = APMIG_ON_BUSY_WAIT;
    record->requested_at = 1750000000000000;
    record->expected_duration_usec = (gint64)3600 * G_USEC_PER_SEC;
    record->breaches = 3;
    return record;
}

ApmigAdmission *
test_admission_new(const char *uuid)
{
    ApmigAdmission *admission = g_new0(ApmigAdmission, 1);

    admission->uuid = g_strdup(uuid);
    admission->name = g_strdup("güest <1>");
    admission->scope = apmig_scope_parse("04.*", NULL);
    admission->devices = g_strsplit("aaaaaaaa-edaf-9455-926a-d65c16db1809", ",", -1);
    admission->admitted_at = 1;
    return admission;
}

ApmigPermit *
test_permit_new(void)
{
    ApmigPermit *permit = g_new0(ApmigPermit, 1);

    permit->id = g_strdup(TEST_PERMIT_ID);
    permit->uuid = g_strdup(TEST_UUID);
    permit->name = g_strdup("gäst \"1\"");
    permit->reason = g_strdup("host dies");
    permit->owner_uid = 4294967294u;
    permit->login_uid = APMIG_PERMIT_NO_LOGIN;
    permit->owner_name = g_strdup("dora");
    permit->given_at = 1;
    permit->until = G_GINT64_CONSTANT(999999999999999999);
    permit->expires_at = apmig_boot_time() + 3600 * (gint64)G_USEC_PER_SEC;
    return permit;
}
