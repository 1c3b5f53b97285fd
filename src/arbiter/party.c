// SPDX-License-Identifier: Apache-2.0
#include "arbiter/party.h"

enum { ALL_PPM = 1000000 };

/* --- which container is with which --- */

int party_begin(struct party *party, struct turns *turns, uint32_t share_ppm)
{
    const struct turns_terms terms = {.share_ppm = share_ppm};
    struct turns_unit *unit;
    const int r = turns_add(turns, &terms, &unit);

    if (r == 0)
        *party = (struct party){.unit = unit, .share_ppm = share_ppm, .lead = party};
    return r;
}

size_t party_count(const struct party *party)
{
    size_t n = 0;

    for (const struct party *one = party->lead; one; one = one->next)
        n++;
    return n;
}

/* Where a grant does not tell its share the sum may be more than there is. */
static void change_share(const struct party *lead)
{
    uint64_t sum_ppm = 0;
    struct turns_terms terms;

    for (const struct party *one = lead; one; one = one->next)
        sum_ppm += one->share_ppm;
    terms.share_ppm = sum_ppm < ALL_PPM ? (uint32_t)sum_ppm : ALL_PPM;
    turns_change(lead->unit, &terms);
}

void party_join(struct party *party, struct party *lead)
{
    party_settle(party);
    party_settle(lead);
    party->lead = lead;
    party->next = lead->next;
    lead->next = party;
    change_share(lead);
}

static void take_out(struct party *party)
{
    struct party **link = &party->lead;

    while (*link != party)
        link = &(*link)->next;
    *link = party->next;
    party->next = NULL;
    party->lead = party;
}

void party_leave(struct party *party)
{
    struct party *lead = party->lead;

    if (party_count(party) == 1)
        return;
    party_settle(lead);
    if (party != lead)
        take_out(party);
    while (party == lead && lead->next)
        take_out(lead->next);
    change_share(lead);
}

void party_end(struct party *party)
{
    party_leave(party);
    turns_remove(party->unit);
    *party = (struct party){.unit = NULL};
}

/* --- what they claim --- */

void party_sample(struct party *party, const struct turns_sample *claims)
{
    struct turns_sample *told = &party->lead->told;

    told->n_launched += claims->n_launched - party->claims.n_launched;
    told->n_done += claims->n_done - party->claims.n_done;
    told->n_passed += claims->n_passed - party->claims.n_passed;
    told->waited_ns += claims->waited_ns - party->claims.waited_ns;
    told->n_waiting += claims->n_waiting;
    told->is_in_flight = told->is_in_flight || claims->is_in_flight;
    party->claims = *claims;
}

void party_tell(struct party *party)
{
    turns_sample(party->unit, &party->told);
    party->told.n_waiting = 0;
    party->told.is_in_flight = false;
}

struct turns_gate party_gate(const struct party *party)
{
    struct turns_gate gate = *turns_gate(party->lead->unit);
    const uint32_t part_us = gate.in_flight_us / (uint32_t)party_count(party);

    gate.in_flight_us = gate.in_flight_us && !part_us ? 1 : part_us;
    return gate;
}

/* --- what each received --- */

static struct party_account account_of(const struct party *party)
{
    struct turns_view view;

    turns_view(party->unit, &view);
    return (struct party_account){view.entitled_ns, view.received_ns, view.borrowed_ns,
                                  view.lent_ns,     view.n_turns,     view.n_overdue};
}

/* What its unit has since this was asked last. */
static struct party_account take_news(struct party *party)
{
    const struct party_account now = account_of(party), seen = party->seen;

    party->seen = now;
    return (struct party_account){
        .entitled_ns = now.entitled_ns - seen.entitled_ns,
        .received_ns = now.received_ns - seen.received_ns,
        .borrowed_ns = now.borrowed_ns - seen.borrowed_ns,
        .lent_ns = now.lent_ns - seen.lent_ns,
        .n_turns = now.n_turns - seen.n_turns,
        .n_overdue = now.n_overdue - seen.n_overdue,
    };
}

/* Of what the group has since the lead's last settlement; it keeps what is left over. */
static void move(struct party *to, double by_launches, double by_share,
                 const struct party_account *news)
{
    struct party *lead = to->lead;
    const uint64_t entitled_ns = (uint64_t)((double)news->entitled_ns * by_share),
                   received_ns = (uint64_t)((double)news->received_ns * by_launches),
                   borrowed_ns = (uint64_t)((double)news->borrowed_ns * by_launches),
                   lent_ns = (uint64_t)((double)news->lent_ns * by_share);

    to->moved.entitled_ns += entitled_ns;
    to->moved.received_ns += received_ns;
    to->moved.borrowed_ns += borrowed_ns;
    to->moved.lent_ns += lent_ns;
    lead->moved.entitled_ns -= entitled_ns;
    lead->moved.received_ns -= received_ns;
    lead->moved.borrowed_ns -= borrowed_ns;
    lead->moved.lent_ns -= lent_ns;
    to->moved.n_turns += news->n_turns;
    to->moved.n_overdue += news->n_overdue;
}

/* Its own unit does nothing meanwhile, and is entitled to something all the same. */
static void drop_own(struct party *party)
{
    const struct party_account own = take_news(party);

    party->moved.entitled_ns -= own.entitled_ns;
    party->moved.lent_ns -= own.lent_ns;
}

/* Where nobody launched anything it is long kernels', and anybody's. */
void party_settle(struct party *party)
{
    struct party *lead = party->lead;
    const struct party_account news = take_news(lead);
    double launched = 0, share_ppm = 0;

    for (const struct party *one = lead; one; one = one->next) {
        launched += (double)(one->claims.n_launched - one->n_settled);
        share_ppm += one->share_ppm;
    }
    for (struct party *one = lead; one; one = one->next) {
        const double by_share = one->share_ppm / share_ppm;
        const double own = (double)(one->claims.n_launched - one->n_settled);

        if (one != lead) {
            drop_own(one);
            move(one, launched > 0 ? own / launched : by_share, by_share, &news);
        }
        one->n_settled = one->claims.n_launched;
    }
}

void party_view(struct party *party, struct turns_view *ret_view)
{
    struct party_account own;
    const struct party_account *moved = &party->moved;

    party_settle(party);
    own = account_of(party);
    turns_view(party->lead->unit, ret_view);
    ret_view->entitled_ns = own.entitled_ns + moved->entitled_ns;
    ret_view->received_ns = own.received_ns + moved->received_ns;
    ret_view->borrowed_ns = own.borrowed_ns + moved->borrowed_ns;
    ret_view->lent_ns = own.lent_ns + moved->lent_ns;
    ret_view->n_turns = own.n_turns + moved->n_turns;
    ret_view->n_overdue = own.n_overdue + moved->n_overdue;
    ret_view->waited_ns = party->claims.waited_ns;
}
