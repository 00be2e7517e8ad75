/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "store/permit-files.h"

#include "base/boot-time.h"
#include "store/permit-json.h"
#include "store/members.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#define OPEN_SUFFIX ".json"
#define IN_INFIX    ".in."
#define OUT_INFIX   ".out."
#define USED_SUFFIX ".used"

#define FILES_MAX       (4 * APMIG_PERMITS_MAX) /* looked at; what was used, and ended in a crash, is among them */
#define LOCK_TRIES      100
#define LOCK_PAUSE_USEC 50000

/* --- names --------------------------------------------------------------------------------------- */

static char *
open_name(const ApmigPermit *permit)
{
    return g_strconcat(permit->id, OPEN_SUFFIX, NULL);
}

static char *
used_name(const ApmigPermit *permit)
{
    return g_strconcat(permit->id, permit->outgoing ? OUT_INFIX : IN_INFIX, permit->used_by, USED_SUFFIX,
                       NULL);
}

/* What the name of a file says. */
typedef struct {
    char *id;
    char *used_by; /* (nullable): NULL: it is open */
    gboolean outgoing;
} Name;

static void
name_clear(Name *name)
{
    g_free(name->id);
    g_free(name->used_by);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(Name, name_clear)

static gboolean
parse_name(const char *text, Name *ret_name)
{
    const char *rest = text + MIN(strlen(text), APMIG_PERMIT_ID_LENGTH);
    const char *infix = g_str_has_prefix(rest, OUT_INFIX) ? OUT_INFIX : IN_INFIX;

    ret_name->id = g_strndup(text, APMIG_PERMIT_ID_LENGTH);
    if (!apmig_permit_id_is_valid(ret_name->id))
        return FALSE;
    if (g_str_equal(rest, OPEN_SUFFIX))
        return TRUE;
    if (!g_str_has_prefix(rest, infix) || !g_str_has_suffix(rest, USED_SUFFIX) ||
        strlen(rest) <= strlen(infix) + strlen(USED_SUFFIX))
        return FALSE;
    rest += strlen(infix);
    ret_name->used_by = g_strndup(rest, strlen(rest) - strlen(USED_SUFFIX));
    ret_name->outgoing = infix[1] == 'o';
    return apmig_permit_is_uuid(ret_name->used_by);
}

/* --- the folder ---------------------------------------------------------------------------------- */

static gboolean
read_boot_id(char *ret_text, GError **error)
{
    sd_id128_t id;
    int r = sd_id128_get_boot(&id);

    if (r < 0)
        return apmig_members_fail(error, "cannot read /proc/sys/kernel/random/boot_id: %s", g_strerror(-r));
    sd_id128_to_string(id, ret_text);
    return TRUE;
}

ApmigFolder *
apmig_permits_open(const char *runtime_dir, GError **error)
{
    g_autofree char *path = g_build_filename(runtime_dir, "permits", NULL);
    g_autoptr(ApmigFolder) folder = apmig_folder_open(path, error);

    for (guint i = 0; folder && i < LOCK_TRIES; i++) {
        if (flock(folder->fd, LOCK_EX | LOCK_NB) == 0)
            return g_steal_pointer(&folder);
        g_usleep(LOCK_PAUSE_USEC);
    }
    if (folder)
        apmig_members_fail(error, "cannot lock the folder %s: somebody holds it; see who with: lsof %s", path,
                           path);
    return NULL;
}

/* The daemon's user owns it: whoever may write there may give permits. */
static gboolean
check_folder(const ApmigFolder *folder, GError **error)
{
    struct stat st;

    if (fstat(folder->fd, &st) < 0)
        return apmig_members_fail(error, "%s cannot be read: %s", folder->path, g_strerror(errno));
    return (st.st_mode & 077) == 0 ||
           apmig_members_fail(error, "%s is open to others than its owner", folder->path);
}

ApmigFolder *
apmig_permits_open_without_daemon(const char *runtime_dir, GError **error)
{
    g_autoptr(ApmigFolder) folder = g_new0(ApmigFolder, 1);

    folder->path = g_build_filename(runtime_dir, "permits", NULL);
    folder->fd = open(folder->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (folder->fd < 0) {
        apmig_members_fail(error, "%s cannot be opened: %s", folder->path, g_strerror(errno));
        return NULL;
    }
    if (!check_folder(folder, error))
        return NULL;
    if (flock(folder->fd, LOCK_EX | LOCK_NB) < 0) {
        apmig_members_fail(error, "apmigd runs, so permits are its own to use");
        return NULL;
    }
    return g_steal_pointer(&folder);
}

/* --- loading ------------------------------------------------------------------------------------- */

/* That it is changed between this and its reading, is up to those who may write it anyway. */
static gboolean
check_file(ApmigFolder *folder, const char *name, GError **error)
{
    struct stat of_folder, of_file;

    if (fstat(folder->fd, &of_folder) < 0 || fstatat(folder->fd, name, &of_file, AT_SYMLINK_NOFOLLOW) < 0)
        return apmig_members_fail(error, "it cannot be looked at: %s", g_strerror(errno));
    if (!S_ISREG(of_file.st_mode))
        return apmig_members_fail(error, "it is no regular file");
    if (of_file.st_uid != 0 && of_file.st_uid != of_folder.st_uid)
        return apmig_members_fail(error, "it is of user %u", of_file.st_uid);
    return (of_file.st_mode & 077) == 0 ||
           apmig_members_fail(error, "it is open to others than its owner (mode %03o)",
                              of_file.st_mode & 0777);
}

static ApmigPermit *
read_permit(ApmigFolder *folder, const char *file, const Name *name, const char *boot_id, gint64 now,
            gboolean *ret_stale, GError **error)
{
    g_autofree char *text = NULL;
    gsize length = 0;

    *ret_stale = FALSE;
    if (!check_file(folder, file, error))
        return NULL;
    text = apmig_folder_read(folder, file, APMIG_PERMIT_FILE_MAX_BYTES, &length, error);
    return text ? apmig_permit_decode(text, length, name->id, boot_id, now, ret_stale, error) : NULL;
}

static ApmigPermit *
permit_of_damaged(const Name *name)
{
    ApmigPermit *permit = g_new0(ApmigPermit, 1);

    permit->id = g_strdup(name->id);
    permit->uuid = g_strdup(name->used_by);
    permit->name = g_strdup("");
    permit->reason = g_strdup("its file is damaged");
    permit->owner_name = g_strdup("root");
    permit->login_uid = APMIG_PERMIT_NO_LOGIN;
    return permit;
}

static void
note_damage(ApmigFolder *folder, const char *file, const char *problem, const char *follows,
            GPtrArray *damage)
{
    g_autofree char *sentence =
        g_strdup_printf("%s/%s is damaged, %s; %s", folder->path, file, problem, follows);

    g_ptr_array_add(damage, apmig_text_escape(sentence, 1024));
}

static void
load_file(ApmigFolder *folder, const char *file, const char *boot_id, gint64 now, GPtrArray *permits,
          GPtrArray *damage)
{
    g_auto(Name) name = {0};
    g_autoptr(GError) error = NULL;
    ApmigPermit *permit;
    gboolean stale;

    if (!parse_name(file, &name)) {
        note_damage(folder, file, "its name is not that of a permit", "it is ignored", damage);
        return;
    }
    permit = read_permit(folder, file, &name, boot_id, now, &stale, &error);
    if (stale) {
        if (!apmig_folder_remove(folder, file, NULL, &error))
            g_ptr_array_add(damage, g_strdup(error->message));
        return;
    }
    if (!permit) {
        note_damage(folder, file, error->message,
                    name.used_by ? "its guest counts as migrating by it all the same"
                                 : "it permits nothing: give the permit anew",
                    damage);
        if (!name.used_by)
            return;
        permit = permit_of_damaged(&name);
    }
    permit->used_by = g_steal_pointer(&name.used_by);
    permit->outgoing = name.outgoing;
    g_ptr_array_add(permits, permit);
}

gboolean
apmig_permits_load(ApmigFolder *folder, gint64 now, GPtrArray *permits, GPtrArray *damage, GError **error)
{
    char boot_id[SD_ID128_STRING_MAX];
    g_autoptr(GPtrArray) files = NULL;

    if (!read_boot_id(boot_id, error))
        return FALSE;
    files = apmig_folder_list(folder, error);
    if (!files)
        return FALSE;
    for (guint i = 0; i < MIN(files->len, FILES_MAX); i++)
        load_file(folder, files->pdata[i], boot_id, now, permits, damage);
    if (files->len > FILES_MAX)
        g_ptr_array_add(damage, g_strdup_printf("%s has %u files, of which %d were read", folder->path,
                                                files->len, FILES_MAX));
    return TRUE;
}

/* --- changing ------------------------------------------------------------------------------------ */

gboolean
apmig_permits_write(ApmigFolder *folder, const ApmigPermit *permit, GError **error)
{
    char boot_id[SD_ID128_STRING_MAX];
    g_autofree char *text = read_boot_id(boot_id, error) ? apmig_permit_encode(permit, boot_id, error) : NULL;
    g_autofree char *file = open_name(permit);

    return text && apmig_folder_write_beside(folder, file, text, FALSE, error) &&
           apmig_folder_put_in_place(folder, file, error);
}

gboolean
apmig_permits_use(ApmigFolder *folder, const ApmigPermit *permit, GError **error)
{
    g_autofree char *open = open_name(permit);
    g_autofree char *used = used_name(permit);

    return apmig_folder_rename(folder, open, used, error);
}

gboolean
apmig_permits_remove(ApmigFolder *folder, const ApmigPermit *permit, GError **error)
{
    g_autofree char *open = open_name(permit);
    g_autofree char *used = permit->used_by ? used_name(permit) : NULL;

    return apmig_folder_remove(folder, open, folder, error) &&
           (!used || apmig_folder_remove(folder, used, folder, error));
}
