// SPDX-License-Identifier: Apache-2.0
#include "node/migreport.h"

#include <stdio.h>
#include <string.h>

#include "base/array.h"

const char *migreport_state_name(enum migreport_state state)
{
    static const char *const names[] = {
        [MIGREPORT_SUCCESS] = "success",
        [MIGREPORT_PENDING] = "pending",
        [MIGREPORT_FAILED] = "failed",
        [MIGREPORT_REBOOTING] = "rebooting",
    };

    return names[state];
}

void migreport_deinit(struct migreport *report)
{
    text_deinit(&report->round.text);
    text_deinit(&report->round.gpus);
}

/* --- a round --- */

void migreport_begin(struct migreport *report)
{
    report->round.state = MIGREPORT_NONE;
    report->round.waits = false;
    report->round.sentence[0] = '\0';
    text_clear(&report->round.text);
    text_clear(&report->round.gpus);
}

/* Sentences are written about one GPU. */
static void add_plural(struct text *text, const char *sentence)
{
    static const char *const verbs[][2] = {
        {"is ", "are "}, {"has ", "have "}, {"needs ", "need "}, {"waits ", "wait "}};
    static const char about[] = ": it ";
    const char *it;

    for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
        if (str_starts_with(sentence, verbs[i][0])) {
            text_add(text, verbs[i][1]);
            sentence += strlen(verbs[i][0]);
            break;
        }
    it = strstr(sentence, about);
    if (it) {
        text_add_bytes(text, sentence, (size_t)(it - sentence));
        text_add(text, ": each ");
        sentence = it + strlen(about);
    }
    text_add(text, sentence);
}

static void finish_sentence(struct migreport *report)
{
    struct text *text = &report->round.text;
    const char *gpus = text_string(&report->round.gpus);

    if (!report->round.gpus.length)
        return;
    text_addf(text, "%s%s ", text->length ? "; " : "", gpus);
    if (strchr(gpus, ','))
        add_plural(text, report->round.sentence);
    else
        text_add(text, report->round.sentence);
    text_clear(&report->round.gpus);
}

void migreport_add(struct migreport *report, enum migreport_state state, const struct gpu *gpu,
                   const char *before, const char *what)
{
    char sentence[sizeof(report->round.sentence)];

    if (state > report->round.state)
        report->round.state = state;
    if (!what)
        return;
    if ((size_t)snprintf(sentence, sizeof(sentence), "%s%s", before, what) >= sizeof(sentence))
        str_mark_cut(sentence, sizeof(sentence));
    if (!str_equal(sentence, report->round.sentence))
        finish_sentence(report);
    memcpy(report->round.sentence, sentence, sizeof(sentence));
    text_addf(&report->round.gpus, "%sGPU %u", report->round.gpus.length ? ", " : "", gpu->index);
}

void migreport_add_wait(struct migreport *report, const struct gpu *gpu, const char *holders,
                        const char *then)
{
    char what[sizeof(report->round.sentence)];

    snprintf(what, sizeof(what), "%s%s", holders, then);
    migreport_add(report, MIGREPORT_PENDING, gpu, "waits for ", what);
    report->round.waits = true;
}

/* --- its end --- */

static bool is_no_news(const struct migreport *report, const struct migreport_end *end)
{
    if (report->state == MIGREPORT_REBOOTING)
        return end->work != MIGREPORT_IDLE;
    switch (end->work) {
    case MIGREPORT_IDLE:
        return false;
    case MIGREPORT_TAKES_BACK:
        return true;
    case MIGREPORT_ASKS:
    case MIGREPORT_RETRIES:
        return report->state == MIGREPORT_PENDING ||
               (report->state == MIGREPORT_FAILED && end->still_fails);
    case MIGREPORT_STEPS:
        return report->state == MIGREPORT_FAILED && end->still_fails;
    }
    return false;
}

static void write_message(struct migreport *report, const struct migreport_end *end,
                          enum migreport_state state, char message[MIGREPORT_MESSAGE_SIZE])
{
    int n = 0;

    if (state == MIGREPORT_SUCCESS && end->is_for_none)
        snprintf(message, MIGREPORT_MESSAGE_SIZE,
                 "the MIG layout %s leaves all GPUs of this node as they are: it has no entry for "
                 "them, or they cannot be partitioned",
                 end->wish);
    else if (state == MIGREPORT_SUCCESS)
        snprintf(message, MIGREPORT_MESSAGE_SIZE, "the MIG layout %s is in force", end->wish);
    else if (migreport_state_name(state))
        n = snprintf(message, MIGREPORT_MESSAGE_SIZE, "the MIG layout %s is not in force: %s",
                     end->wish, text_string(&report->round.text));
    else
        message[0] = '\0';
    if (n >= MIGREPORT_MESSAGE_SIZE)
        str_mark_cut(message, MIGREPORT_MESSAGE_SIZE);
}

static enum migreport_state state_of(const struct migreport *report,
                                     const struct migreport_end *end)
{
    if (end->work != MIGREPORT_IDLE)
        return MIGREPORT_PENDING;
    return report->round.state == MIGREPORT_NONE && end->is_for_none ? MIGREPORT_SUCCESS
                                                                     : report->round.state;
}

/* Each step is logged; an event is for what stays so. */
static bool is_event(const struct migreport *report, const struct migreport_end *end)
{
    if (!*report->message || str_equal(report->message, report->reported))
        return false;
    if (report->state == MIGREPORT_PENDING)
        return report->waits;
    return report->state != MIGREPORT_SUCCESS || report->reported_steps != end->n_steps ||
           end->is_for_none;
}

int migreport_conclude(struct migreport *report, const struct migreport_end *end)
{
    const enum migreport_state state = state_of(report, end);
    char message[MIGREPORT_MESSAGE_SIZE];

    finish_sentence(report);
    if (is_no_news(report, end))
        return 0;
    write_message(report, end, state, message);
    report->waits = report->round.waits && end->work == MIGREPORT_IDLE;
    if (state == report->state && str_equal(message, report->message) &&
        (!report->waits || str_equal(message, report->reported)))
        return 0;
    report->state = state;
    memcpy(report->message, message, sizeof(message));
    if (!is_event(report, end))
        return MIGREPORT_CHANGED;
    memcpy(report->reported, report->message, sizeof(report->reported));
    report->reported_steps = end->n_steps;
    return MIGREPORT_EVENT;
}

const char *migreport_reason(const struct migreport *report)
{
    switch (report->state) {
    case MIGREPORT_SUCCESS:
        return "MIGLayoutApplied";
    case MIGREPORT_FAILED:
        return "MIGLayoutFailed";
    case MIGREPORT_REBOOTING:
        return "MIGNodeReboots";
    default:
        return report->waits ? "MIGLayoutWaits" : "MIGLayoutPending";
    }
}

bool migreport_warns(const struct migreport *report)
{
    return report->state >= MIGREPORT_FAILED || report->waits;
}
