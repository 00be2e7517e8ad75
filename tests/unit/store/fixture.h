/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Folders of a test's own, and a store whose requests are waited for.
 */
#pragma once

#include "store/store.h"

#define TEST_UUID "c7a5fdbd-edaf-9455-926a-d65c16db1809"

typedef struct {
    char *base, *state, *runtime;
    ApmigStore *store;
    GPtrArray *locks, *admissions, *damage, *declared; /* as loaded */
    guint n_answers;
    guint64 last_op;
    char *last_error;
} Fixture;

void fixture_set_up(Fixture *fixture, gconstpointer data);
void fixture_tear_down(Fixture *fixture, gconstpointer data);

/* Opens, loads and starts; then closes. */
void fixture_open(Fixture *fixture);
void fixture_close(Fixture *fixture);
void fixture_reopen(Fixture *fixture);

ApmigAction *test_action_new(ApmigActionType type, guint64 op);
/* Each returns at once. @type: PERSIST_LOCK or REMOVE_LOCK */
void fixture_ask_lock(Fixture *fixture, ApmigActionType type, guint64 op, const ApmigLockRecord *record);
/* Of the admission of a guest. */
void fixture_ask_removal(Fixture *fixture, const char *uuid);

/* Each waits for the answer. Returns: the error, or NULL; until the next one. */
const char *fixture_persist(Fixture *fixture, const ApmigLockRecord *record);
const char *fixture_remove(Fixture *fixture, const ApmigLockRecord *record);
const char *fixture_persist_admission(Fixture *fixture, const ApmigAdmission *admission);
void fixture_wait(Fixture *fixture, guint n_answers);

/* @folder: "state/locks" or "runtime/admissions"; @length -1: of a string */
char *fixture_path(Fixture *fixture, const char *folder, const char *name);
void fixture_put(Fixture *fixture, const char *folder, const char *name, const char *text, gssize length);
gboolean fixture_has(Fixture *fixture, const char *folder, const char *name);
guint fixture_count(Fixture *fixture, const char *folder);

ApmigLockRecord *test_record_new(const char *id);
ApmigAdmission *test_admission_new(const char *uuid);
