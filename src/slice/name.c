// SPDX-License-Identifier: Apache-2.0
#include "slice/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* What is wrong with a DNS-1123 subdomain, or NULL. */
static const char *dns_fault(const char *text)
{
    char last = '.';

    for (const char *c = text; *c; c++) {
        if (!is_alnum(*c) && *c != '-' && *c != '.')
            return "may hold lower case letters, digits, '-' and '.' only";
        if (!is_alnum(*c) && (last == '.' || (*c == '.' && last == '-')))
            return "must have a letter or digit at the start and end of each part between dots";
        last = *c;
    }
    return is_alnum(last) ? NULL : "must start and end with a letter or digit";
}

/* Joins the four parts, checks the result and hands it over; `word` is what the person wrote. */
static int compose(const char *word, const char *head, const char *body, const char *tail,
                   char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    char name[RESOURCE_NAME_SIZE];
    int n = snprintf(name, sizeof(name), NAME_DOMAIN "%s%s%s", head, body, tail);
    const char *fault;

    if (n >= (int)sizeof(name))
        return error_set(err, -EINVAL,
                         "the resource name " NAME_DOMAIN "%.40s... is longer than %d characters",
                         body, RESOURCE_NAME_SIZE - 1);
    fault = dns_fault(name + strlen(NAME_DOMAIN));
    if (fault)
        return error_set(err, -EINVAL, "the resource name '%.63s' %s", word, fault);
    memcpy(ret_name, name, (size_t)n + 1);
    return 0;
}

/* For a word with a slash. What is proposed is accepted. */
static int refuse_domain(const char *word, const char *slash, struct error *err)
{
    const char *fault = slash == word ? "starts with '/'" : "has a domain of its own";
    char name[RESOURCE_NAME_SIZE];

    if (compose(word, "", slash + 1, "", name, NULL) < 0)
        return error_set(err, -EINVAL, "the resource name '%.63s' %s; write for example " NAME_GPU,
                         word, fault);
    return error_set(err, -EINVAL, "the resource name '%.63s' %s; write %s", word, fault, name);
}

int name_parse(const char *word, char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    const char *slash = strchr(word, '/');
    const char *body = str_starts_with(word, NAME_DOMAIN) ? word + strlen(NAME_DOMAIN) : word;

    if (!*body)
        return error_set(err, -EINVAL, "the resource name is empty; write for example " NAME_GPU);
    if (slash && body == word)
        return refuse_domain(word, slash, err);
    return compose(word, "", body, "", ret_name, err);
}

int name_shared(const char *name, char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    const char *body = str_starts_with(name, NAME_DOMAIN) ? name + strlen(NAME_DOMAIN) : name;

    return compose(name, "", body, NAME_SHARED, ret_name, err);
}

int name_slice(const char *word, char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    if (!*word)
        return error_set(err, -EINVAL, "the slice's name is empty; write for example 'half'");
    return compose(word, "gpu-", word, "", ret_name, err);
}

int name_mig(const char *profile, char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    char dotted[RESOURCE_NAME_SIZE];

    if (str_copy(dotted, sizeof(dotted), profile) < 0 || !*profile)
        return error_set(err, -EINVAL, "'%.63s' is no MIG profile; write for example '1g.5gb'",
                         profile);
    for (char *c = dotted; *c; c++)
        if (*c == '+')
            *c = '.';
    return compose(profile, "mig-", dotted, "", ret_name, err);
}

const struct resource_rule *name_find_rule(const struct policy *policy, const char *model)
{
    for (size_t i = 0; i < policy->n_gpu_rules; i++)
        if (str_glob(policy->gpu_rules[i].pattern, model))
            return &policy->gpu_rules[i];
    return NULL;
}

const char *name_of_model(const struct policy *policy, const char *model)
{
    const struct resource_rule *rule = name_find_rule(policy, model);

    return rule ? rule->name : NAME_GPU;
}

int name_of_profile(const struct policy *policy, const char *profile,
                    char ret_name[RESOURCE_NAME_SIZE], struct error *err)
{
    const char *name = policy->mig_strategy == MIG_STRATEGY_SINGLE ? NAME_GPU : NULL;
    char by_profile[RESOURCE_NAME_SIZE];
    int r = name_mig(profile, by_profile, err);

    for (size_t i = 0; i < policy->n_mig_rules; i++) {
        if (!str_glob(policy->mig_rules[i].pattern, profile))
            continue;
        name = policy->mig_rules[i].name;
        break;
    }
    if (r == 0)
        str_copy(ret_name, RESOURCE_NAME_SIZE, name ? name : by_profile);
    return r;
}

void name_second(const struct policy *policy, const char *profile,
                 char ret_name[RESOURCE_NAME_SIZE])
{
    char first[RESOURCE_NAME_SIZE];

    ret_name[0] = '\0';
    if (policy->mig_names == MIG_NAMES_BOTH && policy->mig_strategy == MIG_STRATEGY_SINGLE &&
        name_of_profile(policy, profile, first, NULL) == 0 &&
        name_mig(profile, ret_name, NULL) == 0 && str_equal(first, ret_name))
        ret_name[0] = '\0';
}

bool name_is_mig(const struct policy *policy, const char *name)
{
    for (size_t i = 0; i < policy->n_mig_rules; i++)
        if (str_equal(policy->mig_rules[i].name, name))
            return true;
    return str_starts_with(name, NAME_MIG);
}
