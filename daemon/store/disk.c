/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/disk.h"
#include "base/boot-time.h"
#include "store/declared-keys.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "store/files.h"
#include "store/json.h"
#include "base/text.h"

#include <errno.h>
#include <string.h>
#include <sys/file.h>
#include <syslog.h>
#include <systemd/sd-id128.h>

#define SUFFIX ".json"

#define DECLARED         APMIG_DECLARED_KEYS_STEM SUFFIX
#define DECLARED_DAMAGED APMIG_DECLARED_KEYS_STEM ".damaged"

/* Says that the folder has lock files, so that their loss is noticed. While it is there, so is one: it is made
 * after the first and removed before the last, each made good by a sync, and a crash in between loses only the
 * marker, which the next load makes again. In the other order a crash would leave a false alarm. */
#define MARKER ".in-use"

struct ApmigDisk {
    ApmigFolder *state, *locks, *admissions, *permits;
    char boot_id[SD_ID128_STRING_MAX];
    GMutex mutex;      /* for @files */
    GHashTable *files; /* lock id to the name of its file, which of a damaged one need not be ID.json */
};

/* --- open ---------------------------------------------------------------------------------------- */

static gboolean
lock_folder(ApmigFolder *folder, GError **error)
{
    if (flock(folder->fd, LOCK_EX | LOCK_NB) == 0)
        return TRUE;
    if (errno == EWOULDBLOCK)
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE, "another apmigd runs on %s; stop it first",
                    folder->path);
    else
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE, "cannot lock the folder %s: %s",
                    folder->path, g_strerror(errno));
    return FALSE;
}

static gboolean
read_boot_id(ApmigDisk *disk, GError **error)
{
    sd_id128_t id;
    int r = sd_id128_get_boot(&id);

    if (r < 0) {
        g_set_error(error, APMIG_ERROR, APMIG_ERROR_STATE_FAILURE,
                    "cannot read /proc/sys/kernel/random/boot_id: %s", g_strerror(-r));
        return FALSE;
    }
    sd_id128_to_string(id, disk->boot_id);
    return TRUE;
}

ApmigDisk *
apmig_disk_open(const char *state_dir, const char *runtime_dir, GError **error)
{
    g_autoptr(ApmigDisk) disk = g_new0(ApmigDisk, 1);
    g_autofree char *locks = g_build_filename(state_dir, "locks", NULL);
    g_autofree char *admissions = g_build_filename(runtime_dir, "admissions", NULL);
    g_autofree char *permits = g_build_filename(runtime_dir, "permits", NULL);

    g_mutex_init(&disk->mutex);
    disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    disk->state = apmig_folder_open(state_dir, error);
    if (!disk->state || !lock_folder(disk->state, error))
        return NULL;
    disk->locks = apmig_folder_open(locks, error);
    if (!disk->locks)
        return NULL;
    disk->admissions = apmig_folder_open(admissions, error);
    if (!disk->admissions)
        return NULL;
    disk->permits = apmig_folder_open(permits, error);
    if (!disk->permits || !read_boot_id(disk, error))
        return NULL;
    return g_steal_pointer(&disk);
}

void
apmig_disk_free(ApmigDisk *disk)
{
    if (!disk)
        return;
    apmig_folder_free(disk->permits);
    apmig_folder_free(disk->admissions);
    apmig_folder_free(disk->locks);
    apmig_folder_free(disk->state);
    g_hash_table_unref(disk->files);
    g_mutex_clear(&disk->mutex);
    g_free(disk);
}

/* --- which file a lock has ----------------------------------------------------------------------- */

gboolean
apmig_disk_has_lock(ApmigDisk *disk, const char *id)
{
    gboolean found;

    g_mutex_lock(&disk->mutex);
    found = g_hash_table_contains(disk->files, id);
    g_mutex_unlock(&disk->mutex);
    return found;
}

static void
remember_file(ApmigDisk *disk, const char *id, const char *file)
{
    g_mutex_lock(&disk->mutex);
    g_hash_table_insert(disk->files, g_strdup(id), g_strdup(file));
    g_mutex_unlock(&disk->mutex);
}

static void
forget_file(ApmigDisk *disk, const char *id)
{
    g_mutex_lock(&disk->mutex);
    g_hash_table_remove(disk->files, id);
    g_mutex_unlock(&disk->mutex);
}

/* Returns: (transfer full) (nullable) */
static char *
file_of_lock(ApmigDisk *disk, const char *id)
{
    char *file;

    g_mutex_lock(&disk->mutex);
    file = g_strdup(g_hash_table_lookup(disk->files, id));
    g_mutex_unlock(&disk->mutex);
    return file;
}

void
apmig_disk_expect_lock(ApmigDisk *disk, const char *id)
{
    g_autofree char *file = g_strconcat(id, SUFFIX, NULL);

    remember_file(disk, id, file);
}

/* Returns: (transfer full) (nullable): the name without ".json" */
static char *
stem_of(const char *file)
{
    return g_str_has_suffix(file, SUFFIX) ? g_strndup(file, strlen(file) - strlen(SUFFIX)) : NULL;
}

/* --- damage -------------------------------------------------------------------------------------- */

G_GNUC_PRINTF(2, 3)
static void
note_damage(GPtrArray *damage, const char *format, ...)
{
    g_autofree char *sentence = NULL;
    va_list args;

    va_start(args, format);
    sentence = g_strdup_vprintf(format, args);
    va_end(args);
    g_ptr_array_add(damage, apmig_text_escape(sentence, 1024));
}

/* --- loading locks ------------------------------------------------------------------------------- */

typedef ApmigStoreLoaded Loaded;

void
apmig_store_loaded_init(ApmigStoreLoaded *loaded)
{
    *loaded = (ApmigStoreLoaded){
        .locks = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_lock_record_free),
        .declared = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_evidence_record_free),
        .admissions = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_admission_free),
        .permits = g_ptr_array_new_with_free_func((GDestroyNotify)apmig_permit_free),
        .damage = g_ptr_array_new_with_free_func(g_free),
    };
}

void
apmig_store_loaded_clear(ApmigStoreLoaded *loaded)
{
    g_ptr_array_unref(loaded->locks);
    g_ptr_array_unref(loaded->declared);
    g_ptr_array_unref(loaded->admissions);
    g_ptr_array_unref(loaded->permits);
    g_ptr_array_unref(loaded->damage);
    g_clear_error(&loaded->error);
}

/* The same in every run as long as the file has its name, so that an administrator can act on it. */
static char *
derive_id(ApmigDisk *disk, const char *file)
{
    g_autoptr(GString) seed = g_string_new(file);

    for (;;) {
        g_autofree char *digest = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed->str, seed->len);

        digest[APMIG_LOCK_ID_LENGTH] = '\0';
        if (!apmig_disk_has_lock(disk, digest))
            return g_steal_pointer(&digest);
        g_string_append_c(seed, '/');
    }
}

static void
recover_lock(ApmigDisk *disk, const char *id, const char *file, const char *problem, Loaded *loaded)
{
    ApmigLockRecord *record = g_new0(ApmigLockRecord, 1);
    g_autofree char *path = g_build_filename(disk->locks->path, file, NULL);
    g_autofree char *why = g_strdup_printf("recovered from %s: %s", file, problem);

    record->id = g_strdup(id);
    record->scope = apmig_scope_new_all();
    record->reason = apmig_text_escape(why, APMIG_REASON_MAX_LENGTH);
    record->change_id = g_strdup("");
    record->origin = APMIG_LOCK_RECOVERED;
    record->owner_name = g_strdup("root");
    record->requested_at = apmig_folder_mtime(disk->locks, file);
    remember_file(disk, id, file);
    g_ptr_array_add(loaded->locks, record);
    note_damage(loaded->damage,
                "%s is damaged, %s; lock %s stands for it, on every queue, until its forced release", path,
                problem, id);
}

static void
load_lock(ApmigDisk *disk, const char *id, const char *file, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    ApmigLockRecord *record = NULL;
    gsize length = 0;

    text = apmig_folder_read(disk->locks, file, APMIG_STORE_MAX_BYTES, &length, &error);
    if (text)
        record = apmig_lock_record_decode(text, length, id, &error);
    if (!record) {
        recover_lock(disk, id, file, error->message, loaded);
        return;
    }
    remember_file(disk, id, file);
    g_ptr_array_add(loaded->locks, record);
}

static gboolean
ensure_marker(ApmigDisk *disk, GError **error)
{
    return apmig_folder_has(disk->locks, MARKER) ||
           (apmig_folder_mark(disk->locks, MARKER, error) && apmig_folder_sync(disk->locks, error));
}

static void
check_marker(ApmigDisk *disk, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;

    if (loaded->locks->len > 0) {
        if (!ensure_marker(disk, &error))
            g_ptr_array_add(loaded->damage, g_strdup(error->message));
    } else if (apmig_folder_may_have(disk->locks, MARKER)) {
        g_autofree char *id = derive_id(disk, MARKER);

        recover_lock(disk, id, MARKER, "the folder has lost its lock files", loaded);
    }
}

static gint
compare_age(gconstpointer a, gconstpointer b)
{
    const ApmigLockRecord *left = *(ApmigLockRecord *const *)a, *right = *(ApmigLockRecord *const *)b;

    if (left->requested_at != right->requested_at)
        return left->requested_at < right->requested_at ? -1 : 1;
    return strcmp(left->id, right->id);
}

/* Whatever stands in the folder is a lock. Those with a name of their own come first: an id that has to be
 * derived gives way to them. */
static gboolean
load_locks(ApmigDisk *disk, Loaded *loaded)
{
    g_autoptr(GPtrArray) files = NULL;

    apmig_folder_clean(disk->locks);
    files = apmig_folder_list(disk->locks, &loaded->error);
    if (!files)
        return FALSE;
    for (guint i = 0; i < files->len; i++) {
        g_autofree char *stem = stem_of(g_ptr_array_index(files, i));

        if (stem && apmig_lock_id_is_valid(stem))
            load_lock(disk, stem, g_ptr_array_index(files, i), loaded);
    }
    for (guint i = 0; i < files->len; i++) {
        g_autofree char *stem = stem_of(g_ptr_array_index(files, i));

        if ((!stem || !apmig_lock_id_is_valid(stem)) && strcmp(g_ptr_array_index(files, i), MARKER) != 0) {
            g_autofree char *id = derive_id(disk, g_ptr_array_index(files, i));

            recover_lock(disk, id, g_ptr_array_index(files, i), "its name is not that of a lock", loaded);
        }
    }
    check_marker(disk, loaded);
    g_ptr_array_sort(loaded->locks, compare_age); /* oldest first, as they were before the restart */
    return TRUE;
}

/* --- loading admissions and permits -------------------------------------------------------------- */

/* What is none of ours is moved aside, within the folder: the runtime directory ends with the boot. */
static gboolean
remove_runtime(ApmigFolder *folder, const char *file, GError **error)
{
    return apmig_folder_remove(folder, file, folder, error);
}

static void
remove_stale(ApmigFolder *folder, const char *file, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;

    if (!remove_runtime(folder, file, &error))
        g_ptr_array_add(loaded->damage, g_strdup(error->message));
}

static void
recover_admission(ApmigDisk *disk, const char *uuid, const char *problem, Loaded *loaded)
{
    ApmigAdmission *admission = g_new0(ApmigAdmission, 1);

    admission->uuid = g_strdup(uuid);
    admission->name = g_strdup(uuid);
    admission->scope = apmig_scope_new_all();
    admission->devices = g_new0(char *, 1);
    admission->admitted_at = apmig_boot_time();
    g_ptr_array_add(loaded->admissions, admission);
    note_damage(loaded->damage, "%s/%s%s is damaged, %s; guest %s counts as admitted now, on every queue",
                disk->admissions->path, uuid, SUFFIX, problem, uuid);
}

static void
load_admission(ApmigDisk *disk, const char *uuid, const char *file, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    ApmigAdmission *admission = NULL;
    gboolean stale = FALSE;
    gsize length = 0;

    text = apmig_folder_read(disk->admissions, file, APMIG_STORE_MAX_BYTES, &length, &error);
    if (text)
        admission =
            apmig_admission_decode(text, length, uuid, disk->boot_id, apmig_boot_time(), &stale, &error);
    if (admission)
        g_ptr_array_add(loaded->admissions, admission);
    else if (stale)
        remove_stale(disk->admissions, file, loaded);
    else
        recover_admission(disk, uuid, error->message, loaded);
}

/* Damage costs a permit: the next hook or reading treats its guest as any other. */
static void
load_permit(ApmigDisk *disk, const char *id, const char *file, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    ApmigPermit *permit = NULL;
    gboolean stale = FALSE;
    gsize length = 0;

    text = apmig_folder_read(disk->permits, file, APMIG_STORE_MAX_BYTES, &length, &error);
    if (text)
        permit = apmig_permit_decode(text, length, id, disk->boot_id, apmig_boot_time(), &stale, &error);
    if (permit)
        g_ptr_array_add(loaded->permits, permit);
    else if (stale)
        remove_stale(disk->permits, file, loaded);
    else
        note_damage(loaded->damage, "%s/%s is damaged, %s; it permits nothing: give the permit anew",
                    disk->permits->path, file, error->message);
}

typedef void LoadFile(ApmigDisk *disk, const char *stem, const char *file, Loaded *loaded);

/* @what: "an admission" or its like */
static gboolean
load_runtime(ApmigDisk *disk, ApmigFolder *folder, const char *what, gboolean (*is_stem)(const char *),
             LoadFile *load, Loaded *loaded)
{
    g_autoptr(GPtrArray) files = NULL;

    apmig_folder_clean(folder);
    files = apmig_folder_list(folder, &loaded->error);
    if (!files)
        return FALSE;
    for (guint i = 0; i < files->len; i++) {
        const char *file = g_ptr_array_index(files, i);
        g_autofree char *stem = stem_of(file);

        if (stem && is_stem(stem))
            load(disk, stem, file, loaded);
        else
            note_damage(loaded->damage, "%s/%s is not %s and is ignored", folder->path, file, what);
    }
    return TRUE;
}

void
apmig_disk_load_runtime(ApmigDisk *disk, ApmigStoreLoaded *loaded)
{
    apmig_failpoint("runtime-before-read");
    if (load_runtime(disk, disk->admissions, "an admission", apmig_uuid_is_canonical, load_admission, loaded))
        load_runtime(disk, disk->permits, "a permit", apmig_permit_id_is_valid, load_permit, loaded);
}

/* --- loading what was declared of keys ----------------------------------------------------------- */

/* It is a word, not a lock: damage costs what was said, and nothing else. */
static void
quarantine_declared(ApmigDisk *disk, const char *problem, GPtrArray *damage)
{
    g_autoptr(GError) error = NULL;
    gboolean moved = apmig_folder_rename(disk->state, DECLARED, DECLARED_DAMAGED, &error);

    note_damage(
        damage,
        "%s/%s is damaged, %s; what was declared of master keys is not known any more: declare it anew (%s)",
        disk->state->path, DECLARED, problem, moved ? "the file is now " DECLARED_DAMAGED : error->message);
}

static void
load_declared(ApmigDisk *disk, Loaded *loaded)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(GPtrArray) records = NULL;
    g_autofree char *text = NULL;
    gsize length = 0;

    if (!apmig_folder_may_have(disk->state, DECLARED))
        return;
    text = apmig_folder_read(disk->state, DECLARED, APMIG_STORE_MAX_BYTES, &length, &error);
    records = text ? apmig_declared_keys_decode(text, length, &error) : NULL;
    if (!records) {
        quarantine_declared(disk, error->message, loaded->damage);
        return;
    }
    g_ptr_array_unref(loaded->declared);
    loaded->declared = g_steal_pointer(&records);
}

void
apmig_disk_load_state(ApmigDisk *disk, ApmigStoreLoaded *loaded)
{
    apmig_failpoint("state-before-read");
    if (load_locks(disk, loaded))
        load_declared(disk, loaded);
}

/* --- writing and removing locks ------------------------------------------------------------------ */

static gboolean
is_last(ApmigDisk *disk, const char *file, gboolean *ret_last, GError **error)
{
    g_autoptr(GPtrArray) files = apmig_folder_list(disk->locks, error);

    if (!files)
        return FALSE;
    *ret_last = TRUE;
    for (guint i = 0; i < files->len; i++)
        if (strcmp(g_ptr_array_index(files, i), file) != 0 &&
            strcmp(g_ptr_array_index(files, i), MARKER) != 0)
            *ret_last = FALSE;
    return TRUE;
}

static gboolean
remove_durably(ApmigDisk *disk, const char *file, GError **error)
{
    return apmig_folder_remove(disk->locks, file, disk->state, error) &&
           apmig_folder_sync(disk->locks, error);
}

static gboolean
remove_file(ApmigDisk *disk, const char *file, GError **error)
{
    gboolean last;

    if (!is_last(disk, file, &last, error) || (last && !remove_durably(disk, MARKER, error)))
        return FALSE;
    apmig_failpoint("marker-removed");
    return remove_durably(disk, file, error);
}

/* A new lock whose writing failed was told of as failed: it must not come back with the next start. */
static void
take_back(ApmigDisk *disk, const char *id, const char *file)
{
    g_autoptr(GError) error = NULL;

    if (remove_file(disk, file, &error))
        forget_file(disk, id);
    else
        apmig_log(LOG_ERR, "lock %s was refused but may be there after a restart: %s", id, error->message);
}

static gboolean
write_file(ApmigDisk *disk, const char *file, const char *text, GError **error)
{
    apmig_failpoint("lock-before-write");
    if (!apmig_folder_write_beside(disk->locks, file, text, TRUE, error))
        return FALSE;
    apmig_failpoint("lock-written");
    if (!apmig_folder_put_in_place(disk->locks, file, error))
        return FALSE;
    apmig_failpoint("lock-renamed");
    return apmig_folder_sync(disk->locks, error) && ensure_marker(disk, error);
}

gboolean
apmig_disk_write_lock(ApmigDisk *disk, const ApmigLockRecord *record, GError **error)
{
    g_autofree char *text = apmig_lock_record_encode(record, error);
    g_autofree char *file = g_strconcat(record->id, SUFFIX, NULL);
    gboolean is_new = text && !apmig_folder_may_have(disk->locks, file);

    if (!text)
        return FALSE;
    if (!write_file(disk, file, text, error)) {
        if (is_new)
            take_back(disk, record->id, file);
        return FALSE;
    }
    remember_file(disk, record->id, file);
    apmig_failpoint(record->held_at == 0 ? "lock-durable" : "held-durable");
    return TRUE;
}

/* Without a sync of the file, which on a disk that fails would only fail too: what a crash then cuts off reads as
 * damage, and that is a lock as well. */
static gboolean
write_again(ApmigDisk *disk, const ApmigLockRecord *record, const char *file, GError **error)
{
    g_autofree char *text = apmig_lock_record_encode(record, error);

    return text && apmig_folder_write_beside(disk->locks, file, text, FALSE, error) &&
           apmig_folder_put_in_place(disk->locks, file, error) && apmig_folder_sync(disk->locks, error);
}

/* A removal that failed was told of as "still there", so the lock has to be. */
static void
keep_lock(ApmigDisk *disk, const ApmigLockRecord *record, const char *file)
{
    g_autoptr(GError) error = NULL;
    gboolean ok = apmig_folder_has(disk->locks, file) || record->origin == APMIG_LOCK_RECOVERED ||
                  write_again(disk, record, file, &error);

    if (!ok || !ensure_marker(disk, &error))
        apmig_log(LOG_ERR, "lock %s is kept but may be lost by a restart: %s", record->id, error->message);
}

gboolean
apmig_disk_remove_lock(ApmigDisk *disk, const ApmigLockRecord *record, GError **error)
{
    g_autofree char *file = file_of_lock(disk, record->id);

    apmig_failpoint("lock-before-remove");
    if (file && !remove_file(disk, file, error)) {
        keep_lock(disk, record, file);
        return FALSE;
    }
    forget_file(disk, record->id);
    apmig_failpoint("lock-removed");
    return TRUE;
}

/* --- writing and removing admissions and permits ------------------------------------------------- */

/* Nothing is synced: what is renamed survives the end of this process, and with the boot both end too. */
static gboolean
write_runtime(ApmigFolder *folder, const char *stem, const char *text, GError **error)
{
    g_autofree char *file = g_strconcat(stem, SUFFIX, NULL);

    return apmig_folder_write_beside(folder, file, text, FALSE, error) &&
           apmig_folder_put_in_place(folder, file, error);
}

gboolean
apmig_disk_write_admission(ApmigDisk *disk, const ApmigAdmission *admission, GError **error)
{
    g_autofree char *text = apmig_admission_encode(admission, disk->boot_id, apmig_boot_time(), error);

    if (!text || !write_runtime(disk->admissions, admission->uuid, text, error))
        return FALSE;
    apmig_failpoint("admission-durable");
    return TRUE;
}

gboolean
apmig_disk_remove_admission(ApmigDisk *disk, const char *uuid, GError **error)
{
    g_autofree char *file = g_strconcat(uuid, SUFFIX, NULL);

    return !apmig_uuid_is_canonical(uuid) || remove_runtime(disk->admissions, file, error);
}

gboolean
apmig_disk_write_permit(ApmigDisk *disk, const ApmigPermit *permit, GError **error)
{
    g_autofree char *text = apmig_permit_encode(permit, disk->boot_id, error);

    if (!text || !write_runtime(disk->permits, permit->id, text, error))
        return FALSE;
    apmig_failpoint(permit->used_by ? "permit-used" : "permit-durable");
    return TRUE;
}

gboolean
apmig_disk_remove_permit(ApmigDisk *disk, const char *id, GError **error)
{
    g_autofree char *file = g_strconcat(id, SUFFIX, NULL);

    return remove_runtime(disk->permits, file, error);
}

/* --- writing what was declared of keys ----------------------------------------------------------- */

gboolean
apmig_disk_write_declared(ApmigDisk *disk, const GPtrArray *records, GError **error)
{
    g_autofree char *text = apmig_declared_keys_encode(records, error);

    if (!text || !apmig_folder_write_beside(disk->state, DECLARED, text, TRUE, error) ||
        !apmig_folder_put_in_place(disk->state, DECLARED, error) || !apmig_folder_sync(disk->state, error))
        return FALSE;
    apmig_failpoint("declared-durable");
    return TRUE;
}
