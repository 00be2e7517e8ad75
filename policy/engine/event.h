/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the engine is handed: one event at a time. Events are borrowed for the call.
 */
#pragma once

#include "engine/lock.h"
#include "engine/migration.h"
#include "engine/permit.h"
#include "keys/release-check.h"
#include "stamp/guest-facts.h"
#include "stamp/stamp.h"

/* --- what is known of a guest -------------------------------------------------------------------- */

/* What libvirt tells of a guest by itself, pushed without a worker of its own: qemuProcessHandleMigrationPass() and others
 * in src/qemu of libvirt 11.3. After each of them the guest is looked at. */
typedef enum {
    APMIG_NEWS_CHANGED,          /* its devices or its metadata, or nothing is known of it */
    APMIG_NEWS_STARTED,          /* and not by a migration */
    APMIG_NEWS_PLUGGED,          /* a device was added that may be a mediated one */
    APMIG_NEWS_DEFINED,          /* its persistent configuration is new, or another */
    APMIG_NEWS_ARRIVING,         /* STARTED/MIGRATED: its QEMU listens, no byte has come */
    APMIG_NEWS_SENDING,          /* MIGRATION_ITERATION: memory leaves, to another host or into a file */
    APMIG_NEWS_SUSPENDED,        /* SUSPENDED/MIGRATED, at the source */
    APMIG_NEWS_RESUMED,          /* RESUMED/MIGRATED or POSTCOPY: it has come, or stays where it was */
    APMIG_NEWS_JOB_MIGRATED,     /* JOB_COMPLETED of a migration to another host */
    APMIG_NEWS_JOB_SAVED,        /* JOB_COMPLETED of anything else */
    APMIG_NEWS_STOPPED,          /* shut down */
    APMIG_NEWS_STOPPED_SAVED,    /* its memory is in a file */
    APMIG_NEWS_STOPPED_LOST,     /* failed, crashed or destroyed */
    APMIG_NEWS_STOPPED_MIGRATED, /* it has left */
    APMIG_NEWS_OTHER,
} ApmigNews;

/* Whether it is one of the three that tell that it stopped. */
gboolean apmig_news_is_stop(ApmigNews news);

/* What a guest brings that comes in, and what this host knows to compare it with. Zeroed: neither. */
typedef struct {
    gboolean has_device;           /* one of vfio-ap: its facts' scope is all, whatever its metadata says */
    const char *device;            /* (nullable): UUID of its one device whose queues travel */
    const ApmigScope *declared;    /* (nullable): what it has besides the device's queues */
    const ApmigStamp *stamp;       /* (nullable) */
    const char *stamp_problem;     /* (nullable): why the one that it brings does not read, as a clause */
    const ApmigEvidence *evidence; /* (nullable): of this host's keys */
    const ApmigApHost
        *host; /* (nullable): this host's hardware; NULL: whether the guest fits is not looked at */
    const char *const *in_use; /* (nullable): UUIDs of active guests' mediated devices; NULL: not known */
    gint64 asked_at;           /* boot time: when these began to be asked for */
    const char *host_id;       /* (nullable): this host's */
} ApmigArrival;

typedef enum {
    APMIG_JOB_NONE,     /* active, and no job */
    APMIG_JOB_OUTGOING, /* a job with operation "migration out", in whatever phase */
    APMIG_JOB_INCOMING, /* VIR_ERR_OPERATION_UNSUPPORTED on an active guest */
    APMIG_JOB_OTHER,    /* save, dump, snapshot, backup, ... */
    APMIG_JOB_GONE,     /* no such guest any more, or it is not active */
    APMIG_JOB_UNKNOWN,  /* the question failed */
} ApmigJob;

typedef struct {
    const char *uuid;
    const char *name;
} ApmigGuestName;

/* --- events -------------------------------------------------------------------------------------- */

typedef enum {
    APMIG_EVENT_STORE_LOADED,
    APMIG_EVENT_TAKE,
    APMIG_EVENT_RELEASE,
    APMIG_EVENT_AMEND,
    APMIG_EVENT_CHECK,
    APMIG_EVENT_PERMIT,
    APMIG_EVENT_REVOKE,
    APMIG_EVENT_CALLER_GONE,
    APMIG_EVENT_ADMIT,
    APMIG_EVENT_LOCK_PERSISTED,
    APMIG_EVENT_LOCK_REMOVED,
    APMIG_EVENT_ADMISSION_PERSISTED,
    APMIG_EVENT_PERMIT_WRITTEN,
    APMIG_EVENT_DECLARED_PERSISTED, /* the core's own */
    APMIG_EVENT_VIEW_STARTED,
    APMIG_EVENT_VIEW_LOST,
    APMIG_EVENT_GUESTS_LISTED,
    APMIG_EVENT_GUEST_ANSWERED,
    APMIG_EVENT_FACTS_READ,
    APMIG_EVENT_HEARTBEAT_ANSWERED,
    APMIG_EVENT_GUEST_NEWS,
    APMIG_EVENT_HINT,
    APMIG_EVENT_HINTS_CHANGED,
    APMIG_EVENT_STEP_FINISHED,
    APMIG_EVENT_GUEST_LOOKED_AT,
    APMIG_EVENT_STEPS_CHANGED,
    APMIG_EVENT_KEYS_READ,
    APMIG_EVENT_STAMP_FINISHED,
    APMIG_EVENT_USES_READ,
    APMIG_EVENT_HARDWARE_CHANGED,
    APMIG_EVENT_POLICY_CHANGED,
    APMIG_EVENT_DEADLINE,
} ApmigEventType;

/* What came of writing a guest's stamp. */
typedef enum {
    APMIG_STAMPING_DONE, /* it says what it should, or the guest is not affected, or it is not active here any more */
    APMIG_STAMPING_BUSY, /* the guest has a job: libvirt would wait 30 s for its end, and fail */
    APMIG_STAMPING_FAILED,
} ApmigStamping;

/* What is changed of a lock that is there. */
typedef enum {
    APMIG_AMEND_OWNER,    /* it becomes the caller's */
    APMIG_AMEND_DURATION, /* when it is expected to be released */
    APMIG_AMEND_REASON,   /* what others read */
} ApmigAmendment;

/* An admission as kept in the runtime directory. */
typedef struct {
    char *uuid;
    char *name;
    ApmigScope *scope;
    GStrv devices;
    gint64 admitted_at; /* boot time, usec */
    gboolean
        unaffected; /* a guest without crypto: that it comes in concerns no lock; of no scope then, without devices */
} ApmigAdmission;

ApmigAdmission *apmig_admission_copy(const ApmigAdmission *admission);
void apmig_admission_free(ApmigAdmission *admission);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(ApmigAdmission, apmig_admission_free)

/* A question or request of a caller gets a number of the caller's choice, unique among those open and not 0;
 * the reply action carries it. */
typedef guint64 ApmigCaller;

/* Numbers a question to the hypervisor; grows with each that is put, so that it tells which was put before which. What an answer
 * proves, it proves of the time after its question was put. 0: no question. The table in HACKING.md says what each is for. */
typedef guint64 ApmigToken;

typedef struct {
    ApmigEventType type;
    gint64 now;         /* boot time (CLOCK_BOOTTIME), usec: never goes back */
    gint64 realtime;    /* usec; may jump */
    ApmigCaller caller; /* of a request, and of CALLER_GONE: who is, or was, answered */
    union {
        struct {
            GPtrArray *locks;      /* of ApmigLockRecord; a damaged one comes as APMIG_LOCK_RECOVERED */
            GPtrArray *admissions; /* of ApmigAdmission */
            GPtrArray *permits;    /* (nullable): of ApmigPermit */
        } store_loaded;
        struct {
            const char *id; /* fresh: in no lock that is on disk or readable */
            ApmigScope *scope;
            const char *reason;
            const char *change_id;
            ApmigLockOrigin origin; /* APMIG_LOCK_BY_REQUEST or APMIG_LOCK_BY_ITSELF */
            guint32 uid;
            const char *user;
            ApmigOnBusy on_busy;
            gint64 timeout_usec; /* 0: the policy's, or none with no_wait */
            gint64 expected_duration_usec;
            gboolean no_wait;
            gboolean only_new; /* a lock that is there already is refused, though it be of the same change */
            gboolean rehearse; /* nothing is taken: REPLY_VERDICT says what would be done */
            const char
                *hook_problem; /* (nullable): why the hook would not be called; NULL also when the caller
                                         allowed a missing hook or the driver has none */
        } take;
        struct {
            const char *id;
            gboolean force;
            const char *warnings; /* (nullable): sentences: what is odd about what was declared with it */
        } release;                /* the caller is authorized already */
        struct {
            const char *id;
            ApmigAmendment what;
            guint32 uid; /* the caller's */
            const char *user;
            guint32 owner_uid;    /* of whom the caller may change it, but for APMIG_AMEND_OWNER */
            const char *text;     /* OWNER: why; REASON: what is said */
            gboolean replace;     /* REASON: in place of what was said; else after it */
            gint64 duration_usec; /* DURATION: from now */
        } amend;                  /* the caller is authorized already */
        struct {
            const char *id;
            gint64 limit_usec; /* of the reading that answers it */
        } check;
        struct {
            const char *id;   /* fresh, as of a lock */
            const char *uuid; /* of the guest; "": not known, as the next, but not both */
            const char *name;
            const char *reason;
            guint32 uid; /* the caller's, as the next three */
            guint32 login_uid;
            gboolean login_verified;
            const char *user;
            gint64 duration_usec;
        } permit; /* the caller is authorized already */
        struct {
            const char *guest; /* its name or UUID */
        } revoke;              /* the caller is authorized already */
        struct {
            const char *uuid;
            const char *name;
            gboolean restore; /* else a migration */
            ApmigGuestFacts facts;
            ApmigArrival arrival;
        } admit;
        struct {
            guint64 op;
            const char *error; /* (nullable): NULL is success */
        } persisted;           /* LOCK_PERSISTED, LOCK_REMOVED, ADMISSION_PERSISTED, PERMIT_WRITTEN */
        struct {
            const char *reason; /* why, as a clause: "libvirtd closed the connection" */
        } view_lost;
        struct {
            ApmigToken token;
            const char *error; /* (nullable): NULL is success */
            const ApmigGuestName *guests;
            guint n_guests;
        } listed;
        struct {
            ApmigToken token;
            const char *uuid;
            ApmigJob job;
            gboolean postcopy;
            gboolean stranded;   /* paused for a migration, and no job: libvirt does not know where it runs */
            gboolean facts_read; /* @facts is new */
            ApmigGuestFacts facts;
            ApmigProgress progress;
            const char *error; /* (nullable): with APMIG_JOB_UNKNOWN, as a clause */
        } answered;
        struct {
            ApmigToken
                token; /* of the question that goes on: its job may hang for long, what its XML says does not */
            const char *uuid;
            ApmigGuestFacts facts;
        } facts_read;
        struct {
            ApmigToken token;
            const char *error; /* (nullable): NULL is success */
        } heartbeat;
        struct {
            const char *uuid;
            const char *name; /* (nullable): not known */
            ApmigNews what;
        } news;
        struct {
            const char *uuid; /* (nullable) */
            const char *name; /* (nullable); both NULL: anything may have changed */
        } hint;
        struct {
            gboolean watched; /* libvirt's status folder itself is; FALSE at first */
        } hints;
        struct {
            guint64 op;
            ApmigStepOutcome
                outcome; /* %APMIG_STEP_RUNNING: its QEMU was looked for, and that is all so far */
            const char *message;
            guint64 qemu; /* of a step of the helper: which process it takes for the guest's; 0: none */
            gboolean state_is_vain; /* with @qemu: its device's driver ends no data session with the state */
        } step;
        struct {
            const char *
                trouble; /* (nullable): why no outgoing migration could be ended now, as a clause; NULL at first */
        } steps;
        struct {
            guint64 op;
            gboolean saving; /* its device is being saved, for another host or into a file */
        } looked_at;
        struct {
            guint64 op;
            const char *error;       /* (nullable): why nothing could be read, as a clause; NULL is success */
            const ApmigApHost *host; /* with success, like the next two */
            const GPtrArray *readings; /* (element-type ApmigKeyReading) */
            const ApmigEvidence *evidence;
        } keys_read;
        struct {
            guint64 op;
            ApmigStamping result;
            const char *message; /* (nullable): with APMIG_STAMPING_FAILED, as a clause */
        } stamping;
        struct {
            guint64 op;
            const ApmigApHost *host; /* (nullable): NULL: @error says why, as a clause */
            const char *error;
        } uses_read;
        struct {
            gboolean has_guest_queues; /* they can be passed through to guests; FALSE at first */
        } hardware;
        const ApmigPolicy *policy;
    };
} ApmigEvent;
