/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cards/card-reader.h"

#include "base/mailbox.h"
#include "cards/ap-sysfs.h"

#include <string.h>

/* One thread's work on one card. Counted by g_atomic_rc_box: one reference is its thread's, one that of what the
 * thread has posted. */
typedef struct {
    char *sysfs_root;
    guint adapter;
    GArray *domains;         /* of guint */
    ApmigCardReader *reader; /* main loop's thread; NULL: freed meanwhile */
} Job;

typedef struct {
    guint adapter;
    Job *job;       /* NULL: idle; not owned */
    gboolean stuck; /* the job is late: somebody has ceased to wait for it */
    char *serial;
} Card;

/* What one request wants of one card. */
typedef struct {
    Card *card;
    GArray *domains; /* of guint */
    const Job *job;  /* that reads them; NULL: not begun */
} Part;

typedef struct {
    ApmigCardReader *reader;
    GPtrArray *parts; /* of Part: those not done */
    GPtrArray *readings;
    GSource *source; /* ready at the deadline, or when there are no parts left */
    ApmigCardsReadFunc func;
    gpointer user_data;
} Request;

struct ApmigCardReader {
    char *sysfs_root;
    GHashTable *cards;   /* adapter -> Card */
    GPtrArray *requests; /* of Request: those not answered */
};

static void
card_free(gpointer data)
{
    Card *card = data;

    if (card->job)
        card->job->reader = NULL;
    g_free(card->serial);
    g_free(card);
}

static void
part_free(gpointer data)
{
    Part *part = data;

    g_array_unref(part->domains);
    g_free(part);
}

static void
request_free(gpointer data)
{
    Request *request = data;

    g_source_destroy(request->source);
    g_source_unref(request->source);
    g_ptr_array_unref(request->parts);
    g_ptr_array_unref(request->readings);
    g_free(request);
}

static void
job_clear(gpointer data)
{
    Job *job = data;

    g_array_unref(job->domains);
    g_free(job->sysfs_root);
}

/* --- the thread ---------------------------------------------------------------------------------- */

/* What a job has to tell: of a queue, or at its end the card's serial number. */
typedef struct {
    Job *job;
    ApmigKeyReading reading;
    char *serial; /* NULL: not the end */
} News;

static void hand_on(gpointer data);

static void
news_free(gpointer data)
{
    News *news = data;

    g_atomic_rc_box_release_full(news->job, job_clear);
    g_free(news->serial);
    g_free(news);
}

/* @serial: (transfer full) (nullable) */
static void
post(Job *job, const ApmigKeyReading *reading, char *serial)
{
    News *news = g_new0(News, 1);

    news->job = g_atomic_rc_box_acquire(job);
    if (reading)
        news->reading = *reading;
    news->serial = serial;
    apmig_post(hand_on, news, news_free);
}

/* The kernel shows dashes for what the card did not tell this time, whatever the cause. */
static char *
read_text(const Job *job, guint domain)
{
    g_autofree char *text = apmig_ap_read_mkvps_text(job->sysfs_root, job->adapter, domain, NULL);

    if (!text || !strstr(text, ": - -"))
        return g_steal_pointer(&text);
    return apmig_ap_read_mkvps_text(job->sysfs_root, job->adapter, domain, NULL);
}

static gpointer
read_card(gpointer data)
{
    Job *job = data;

    for (guint i = 0; i < job->domains->len; i++) {
        ApmigKeyReading reading = {job->adapter, g_array_index(job->domains, guint, i)};
        g_autofree char *text = read_text(job, reading.domain);

        if (!text)
            continue;
        apmig_mkvps_parse(text, strlen(text), &reading.mkvps);
        post(job, &reading, NULL);
    }
    post(job, NULL, apmig_ap_read_serial(job->sysfs_root, job->adapter));
    g_atomic_rc_box_release_full(job, job_clear);
    return NULL;
}

/* --- jobs ---------------------------------------------------------------------------------------- */

static gboolean
has_domain(const GArray *domains, guint domain)
{
    for (guint i = 0; i < domains->len; i++)
        if (g_array_index(domains, guint, i) == domain)
            return TRUE;
    return FALSE;
}

static void
add_domain(GArray *domains, guint domain)
{
    if (!has_domain(domains, domain))
        g_array_append_val(domains, domain);
}

static void
part_done(Request *request, guint index)
{
    g_ptr_array_remove_index(request->parts, index);
    if (request->parts->len == 0)
        g_source_set_ready_time(request->source, 0);
}

/* Calls off the parts of all requests that @job reads, or with NULL those that no job reads. */
static void
end_parts(ApmigCardReader *reader, const Card *card, const Job *job)
{
    for (guint i = 0; i < reader->requests->len; i++) {
        Request *request = g_ptr_array_index(reader->requests, i);

        for (guint j = request->parts->len; j > 0; j--) {
            const Part *part = g_ptr_array_index(request->parts, j - 1);

            if (part->card == card && part->job == job)
                part_done(request, j - 1);
        }
    }
}

/* Returns: (transfer full) (nullable): what waits for the card, as one job; its parts are marked. */
static Job *
gather_job(ApmigCardReader *reader, Card *card)
{
    Job *job = g_atomic_rc_box_new0(Job);

    job->domains = g_array_new(FALSE, FALSE, sizeof(guint));
    job->adapter = card->adapter;
    job->reader = reader;
    job->sysfs_root = g_strdup(reader->sysfs_root);
    for (guint i = 0; i < reader->requests->len; i++) {
        const Request *request = g_ptr_array_index(reader->requests, i);

        for (guint j = 0; j < request->parts->len; j++) {
            Part *part = g_ptr_array_index(request->parts, j);

            if (part->card != card || part->job)
                continue;
            part->job = job;
            for (guint k = 0; k < part->domains->len; k++)
                add_domain(job->domains, g_array_index(part->domains, guint, k));
        }
    }
    if (job->domains->len > 0)
        return job;
    g_atomic_rc_box_release_full(job, job_clear);
    return NULL;
}

static void
start_job(ApmigCardReader *reader, Card *card)
{
    Job *job = card->job ? NULL : gather_job(reader, card);
    GThread *thread;

    if (!job)
        return;
    thread = g_thread_try_new("card", read_card, job, NULL);
    if (!thread) {
        end_parts(reader, card, job); /* too many threads: it counts as one that does not answer */
        g_atomic_rc_box_release_full(job, job_clear);
        return;
    }
    card->job = job;
    g_thread_unref(thread);
}

static void
take_reading(ApmigCardReader *reader, const Job *job, const ApmigKeyReading *reading)
{
    for (guint i = 0; i < reader->requests->len; i++) {
        const Request *request = g_ptr_array_index(reader->requests, i);

        for (guint j = 0; j < request->parts->len; j++) {
            const Part *part = g_ptr_array_index(request->parts, j);

            ApmigKeyReading *copy;

            if (part->job != job || !has_domain(part->domains, reading->domain))
                continue;
            copy = g_new(ApmigKeyReading, 1);
            *copy = *reading;
            g_ptr_array_add(request->readings, copy);
        }
    }
}

static void
finish_job(ApmigCardReader *reader, const Job *job, const char *serial)
{
    Card *card = g_hash_table_lookup(reader->cards, GUINT_TO_POINTER(job->adapter));

    g_free(card->serial);
    card->serial = g_strdup(serial);
    card->job = NULL;
    card->stuck = FALSE;
    end_parts(reader, card, job);
    start_job(reader, card);
}

static void
hand_on(gpointer data)
{
    const News *news = data;
    ApmigCardReader *reader = news->job->reader;

    if (reader && news->serial)
        finish_job(reader, news->job, news->serial);
    else if (reader)
        take_reading(reader, news->job, &news->reading);
}

/* --- requests ------------------------------------------------------------------------------------ */

/* Whoever waits behind a card that is late would wait in vain, too. */
static void
give_up_late_cards(Request *request)
{
    while (request->parts->len > 0) {
        const Part *part = g_ptr_array_index(request->parts, 0);
        Card *card = part->card;

        part_done(request, 0);
        card->stuck = card->job != NULL;
        if (card->stuck)
            end_parts(request->reader, card, NULL);
    }
}

static gboolean
answer(gpointer data)
{
    Request *request = data;

    give_up_late_cards(request);
    request->func(request->readings, request->user_data);
    return G_SOURCE_REMOVE;
}

static gboolean
dispatch(GSource *source, GSourceFunc callback, gpointer user_data)
{
    Request *request = user_data;
    ApmigCardReader *reader = request->reader;
    guint index;

    if (g_ptr_array_find(reader->requests, request, &index))
        g_ptr_array_steal_index(reader->requests, index);
    callback(request);
    request_free(request);
    return G_SOURCE_REMOVE;
}

static Part *
find_or_add_part(Request *request, Card *card)
{
    Part *part;

    for (guint i = 0; i < request->parts->len; i++) {
        part = g_ptr_array_index(request->parts, i);
        if (part->card == card)
            return part;
    }
    part = g_new0(Part, 1);
    part->card = card;
    part->domains = g_array_new(FALSE, FALSE, sizeof(guint));
    g_ptr_array_add(request->parts, part);
    return part;
}

static Card *
find_or_add_card(ApmigCardReader *reader, guint adapter)
{
    Card *card = g_hash_table_lookup(reader->cards, GUINT_TO_POINTER(adapter));

    if (card)
        return card;
    card = g_new0(Card, 1);
    card->adapter = adapter;
    card->serial = g_strdup("");
    g_hash_table_insert(reader->cards, GUINT_TO_POINTER(adapter), card);
    return card;
}

void
apmig_card_reader_read(ApmigCardReader *reader, const ApmigApqn *queues, gsize n_queues, gint64 limit_usec,
                       ApmigCardsReadFunc func, gpointer user_data)
{
    static GSourceFuncs funcs = {.dispatch = dispatch};
    Request *request = g_new0(Request, 1);

    request->reader = reader;
    request->parts = g_ptr_array_new_with_free_func(part_free);
    request->readings = g_ptr_array_new_with_free_func(g_free);
    request->func = func;
    request->user_data = user_data;
    request->source = g_source_new(&funcs, sizeof(GSource));
    g_source_set_callback(request->source, answer, request, NULL);
    g_ptr_array_add(reader->requests, request);
    for (gsize i = 0; i < n_queues; i++) {
        Card *card = find_or_add_card(reader, queues[i].adapter);

        if (!card->stuck)
            g_array_append_val(find_or_add_part(request, card)->domains, queues[i].domain);
    }
    g_source_set_ready_time(request->source,
                            request->parts->len > 0 ? g_get_monotonic_time() + limit_usec : 0);
    g_source_attach(request->source, NULL);
    for (guint i = request->parts->len; i > 0; i--)
        start_job(reader, ((Part *)g_ptr_array_index(request->parts, i - 1))->card);
}

const char *
apmig_card_reader_serial(const ApmigCardReader *reader, guint adapter)
{
    const Card *card = g_hash_table_lookup(reader->cards, GUINT_TO_POINTER(adapter));

    return card ? card->serial : "";
}

/* --- life ---------------------------------------------------------------------------------------- */

ApmigCardReader *
apmig_card_reader_new(const char *sysfs_root)
{
    ApmigCardReader *reader = g_new0(ApmigCardReader, 1);

    reader->sysfs_root = g_strdup(sysfs_root);
    reader->cards = g_hash_table_new_full(NULL, NULL, NULL, card_free);
    reader->requests = g_ptr_array_new_with_free_func(request_free);
    return reader;
}

void
apmig_card_reader_free(ApmigCardReader *reader)
{
    if (!reader)
        return;
    g_ptr_array_unref(reader->requests);
    g_hash_table_unref(reader->cards);
    g_free(reader->sysfs_root);
    g_free(reader);
}
