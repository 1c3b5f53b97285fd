// SPDX-License-Identifier: Apache-2.0
#include "cli/verb.h"

#include <stdarg.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

#define SOURCE_OPTIONS                                                                           \
    (1ull << OPTION_CONFIG | 1ull << OPTION_KEY | 1ull << OPTION_MACHINE | 1ull << OPTION_NODE | \
     1ull << OPTION_HELP)
#define MIG_OPTIONS (1ull << OPTION_MIG_MACHINE | 1ull << OPTION_DEBUG | 1ull << OPTION_HELP)

const struct verb verbs[] = {
    {
        .name = "plan",
        .operand = "[FILE]",
        .summary = "show what a node would offer under a configuration",
        .about =
            "Reads the GPUs of a machine and a configuration, and prints the resources\nthat "
            "the node agent would register with the kubelet: which slice is on\nwhich GPU, "
            "with which share and how much memory, and which GPUs are not\nused. Without a "
            "configuration every GPU is offered whole.\n\nProblems go to standard error; like "
            "the agent, it plans as much as it can.\n\n"
            "With --cost the file is a SliceProfile, and there is no machine: it prints "
            "what\na slice costs on each instance type, and the cheapest nodes. With "
            "--workload\nit "
            "reads a list of pods, and prints how many GPUs they need, and which slices to\noffer "
            "them.\n",
        .examples = "  gpuslice plan --config any.yaml --machine p3.8xlarge\n"
                    "  gpuslice plan time-slicing.yaml --node -o json\n"
                    "  gpuslice plan --machine p4d.24xlarge --mig all-1g.5gb\n"
                    "  gpuslice plan --cost 100 profile.yaml\n"
                    "  gpuslice plan --workload pods.csv --names 5\n"
                    "  kubectl -n kube-system get configmap nvidia-device-plugin -o yaml |\n"
                    "      gpuslice plan - --key any --machine p4d.24xlarge\n",
        .options = SOURCE_OPTIONS | 1ull << OPTION_PLAN_OUTPUT | 1ull << OPTION_LABELS |
                   1ull << OPTION_MIG | 1ull << OPTION_ROOM | 1ull << OPTION_PLAN_MIG_FILE |
                   1ull << OPTION_COST | 1ull << OPTION_WORKLOAD | 1ull << OPTION_NAMES,
        .run = verb_plan,
    },
    {
        .name = "check",
        .operand = "FILE|FOLDER...",
        .summary = "show what is wrong with configurations, and where",
        .about = "Reports every problem of configurations at once, each as\n"
                 "file:line:column: severity: path: sentence, with what to write instead.\n"
                 "Of a ConfigMap, and of the values of a Helm chart (config.map), it looks at\n"
                 "every key, of a folder at every .yaml, .yml and .json file. With a machine it\n"
                 "also reports what does not fit that machine. Notes show where NVIDIA's device\n"
                 "plugin treats the same file differently; they do not change the exit status.\n\n"
                 "With --cluster it looks at a cluster instead, and changes nothing there: for\n"
                 "each group of nodes with GPUs their versions, what else serves the GPUs, and\n"
                 "which guarantees hold (memory, compute, scheduling, scaling, MIG), and why.\n\n"
                 "Exit status: 0 clean, 1 warnings, 2 errors, 3 unreadable.\n",
        .examples = "  gpuslice check any.yaml\n"
                    "  gpuslice check --config configmap.yaml --key any --machine g5.12xlarge\n"
                    "  gpuslice check deploy/*.yaml values/\n"
                    "  helm template ... | gpuslice check - -o json\n"
                    "  gpuslice check --cluster\n",
        .options = SOURCE_OPTIONS | 1ull << OPTION_CHECK_OUTPUT | 1ull << OPTION_CLUSTER |
                   1ull << OPTION_KUBECONFIG,
        .run = verb_check,
    },
    {
        .name = "who",
        .operand = "PID...",
        .summary = "name the pod of a process that nvidia-smi shows",
        .about =
            "Shows pod, container, and their ids for each process: from its cgroups, and\nfrom the "
            "names of the kubelet's log directories. It needs neither the API\nserver nor the "
            "container runtime, and runs on the node, or in a pod with\nhostPID that mounts the "
            "node's files.\n\nExit status: 0 every process has a pod, 1 one has none, or one whose "
            "name is\nunknown, 2 the cgroups of one contradict each other, 3 one does not exist.\n",
        .examples = "  gpuslice who 41309\n"
                    "  gpuslice who $(nvidia-smi --query-compute-apps=pid --format=csv,noheader)\n"
                    "  gpuslice who --root /host 41309 -o json\n",
        .options = 1ull << OPTION_CHECK_OUTPUT | 1ull << OPTION_ROOT | 1ull << OPTION_HELP,
        .run = verb_who,
    },
    {
        .name = "audit",
        .summary = "show who uses the memory of this node's GPUs, and with what right",
        .about = "Joins what the driver says of each process, the pod that the kernel says it is\n"
                 "in, and the slices that the kubelet's checkpoint says the pod has, of whatever\n"
                 "device plugin. It names pods that use more than their slices give, pods that\n"
                 "requested no GPU and use one, and processes of the node. It changes nothing,\n"
                 "and needs neither the agent nor the API server; run it on the node, or in a\n"
                 "pod with hostPID and the node's files.\n\n"
                 "Exit status: 0 nothing to report, 1 a pod uses what it has not, 3 the driver\n"
                 "or the kubelet's checkpoint cannot be read.\n",
        .examples = "  gpuslice audit\n"
                    "  gpuslice audit --root /host\n"
                    "  gpuslice audit -o json | jq '.uses[] | select(.verdict == \"over\")'\n",
        .options = 1ull << OPTION_CHECK_OUTPUT | 1ull << OPTION_ROOT | 1ull << OPTION_HELP,
        .run = verb_audit,
    },
    {
        .name = "top",
        .summary = "show, as it changes, where the memory of this node's GPUs goes",
        .about = "For each GPU or MIG device the containers on it, with the memory that they may\n"
                 "use, what they are charged, what of that is overhead, the peak, what the driver\n"
                 "shows, and how many allocations were refused; then what others use, what the\n"
                 "driver keeps for itself, and what is idle. Where containers take turns, also\n"
                 "the time that they were entitled to, received, borrowed and lent. It asks the\n"
                 "arbiter of this node, also one that only audits; it needs root, and no API\n"
                 "server.\n\n"
                 "Keys: q ends it, the arrow and page keys scroll.\n\n"
                 "Exit status: 0 shown, 3 the arbiter cannot be reached.\n",
        .examples = "  gpuslice top\n"
                    "  gpuslice top --plain --interval 10\n"
                    "  gpuslice top --json | jq '.devices[].idle_bytes'\n",
        .options = 1ull << OPTION_PLAIN | 1ull << OPTION_JSON | 1ull << OPTION_INTERVAL |
                   1ull << OPTION_ROOT | 1ull << OPTION_ARBITER_DIR | 1ull << OPTION_HELP,
        .run = verb_top,
    },
    {
        .name = "enforcement",
        .operand = "off|on|status",
        .summary = "switch the memory limits of this node off and on again",
        .about = "off: no memory limit is enforced on this node any more, for running containers\n"
                 "within 2 seconds, whatever the configuration says, until `on`, also after a\n"
                 "restart, and nobody waits for a turn on a GPU. What containers use is\n"
                 "counted further. It works without the agent and the API server: all it does\n"
                 "is to create a file.\n"
                 "status: which mode is configured, and which one holds.\n\n"
                 "Exit status: 0 done, 1 done, but no arbiter answers, 3 a file cannot be read\n"
                 "or written.\n",
        .examples = "  gpuslice enforcement off\n"
                    "  gpuslice enforcement status\n"
                    "  kubectl debug node/NODE -it --image=IMAGE --profile=sysadmin -- \\\n"
                    "      gpuslice enforcement off --root /host\n",
        .options = 1ull << OPTION_STATUS_OUTPUT | 1ull << OPTION_ROOT | 1ull << OPTION_ARBITER_DIR |
                   1ull << OPTION_HELP,
        .run = verb_enforcement,
    },
    {
        .name = "mig",
        .operand = "apply|assert|export|generate-config|plan",
        .summary = "partition GPUs by the files of NVIDIA's mig-parted",
        .about = "Its verbs take the files, options and variables of nvidia-mig-parted, and\nend "
                 "with its sentences and status: 0 success, 1 any failure.\n\n"
                 "  mig apply    make the GPUs have a layout of the file\n"
                 "  mig assert   whether a layout of the file is the current one\n"
                 "  mig export   the current layout, as such a file\n"
                 "  mig plan     the steps to a layout, without taking them\n"
                 "  mig generate-config   a file with the usual layouts of these GPUs\n\n"
                 "'gpuslice help mig VERB' explains one.\n",
        .examples = "  gpuslice mig export > config.yaml\n"
                    "  gpuslice mig assert -f config.yaml -c all-1g.5gb\n",
        .options = 1ull << OPTION_HELP,
        .run = verb_mig,
    },
    {
        .name = "run",
        .operand = "-- COMMAND...",
        .summary = "run a command with a limit on its GPU memory, without Kubernetes",
        .about =
            "Runs a command with all that it starts under one limit of GPU memory: an\n"
            "allocation beyond it fails as if the GPU were full, and programs see a GPU of\n"
            "that size. The limit is kept by the gpuslice-arbiter of this node where there is\n"
            "one that may, which counts it with the pods, else by one that runs beside the\n"
            "command; and by a library that is preloaded into its programs. Who means to can\n"
            "get around it; it is a promise among colleagues, not a wall.\n"
            "Where the arbiter of this node gives turns (gpuslice.compute), the command has\n"
            "them by its share.\n\n"
            "Signals are passed on. At its end one line for each device that was used says\n"
            "the peak, and how many allocations were denied.\n\n"
            "Exit status: that of the command, 128 and the signal's number if one ended it;\n"
            "3 the limit cannot be kept, 126 the command cannot be executed, 127 not found.\n",
        .examples = "  gpuslice run --memory 16Gi -- python train.py\n"
                    "  gpuslice run --memory 4Gi --device 1 -- ./server --port 8080\n"
                    "  gpuslice run --share 25% -- python train.py\n"
                    "  gpuslice run --memory 4Gi --json -- ./job 2> limits.jsonl\n",
        .options = 1ull << OPTION_MEMORY | 1ull << OPTION_SHARE | 1ull << OPTION_DEVICE |
                   1ull << OPTION_RUN_JSON | 1ull << OPTION_OWN | 1ull << OPTION_RUN_ARBITER_DIR |
                   1ull << OPTION_HELP,
        .run = verb_run,
    },
    {
        .name = "verify",
        .summary = "check that memory limits hold on this machine's GPU",
        .about = "Runs small programs on the GPU, with a limit of a few GiB and without, and\n"
                 "prints PASS or FAIL for each check: every kind of allocation ends at the limit,\n"
                 "also of two processes at once; what a killed process had is free again; and\n"
                 "what the library costs. The last line is a row for doc/support.md. It takes\n"
                 "about a minute, needs no compiler, and is best run on a GPU that is idle.\n\n"
                 "Exit status: 0 all passed, 2 one failed, 3 there is no GPU to check.\n",
        .examples = "  gpuslice verify\n  gpuslice verify --device 1\n",
        .options = 1ull << OPTION_DEVICE | 1ull << OPTION_HELP,
        .run = verb_verify,
    },
    {
        .name = "mig apply",
        .summary = "give the GPUs a layout of a file",
        .about =
            "Gives the GPUs of this node the modes and MIG devices of a label of a\nmig-parted "
            "file, or of a built-in layout, by the fewest steps: what is as\nwanted stays, what "
            "is in use is not touched, and only a GPU whose mode\nchanges is reset.\n\nExit "
            "status: 0 done, 1 failed; then every GPU that could have its layout has\nit.\n",
        .examples = "  gpuslice mig apply -f config.yaml -c all-1g.5gb\n"
                    "  gpuslice mig apply -f config.yaml -c custom -k hooks.yaml -d\n"
                    "  gpuslice mig apply -c all-disabled\n",
        .options = 1ull << OPTION_MIG_FILE | 1ull << OPTION_MIG_LABEL | 1ull << OPTION_HOOKS |
                   1ull << OPTION_SKIP_RESET | 1ull << OPTION_MODE_ONLY | 1ull << OPTION_DEBUG |
                   1ull << OPTION_HELP,
        .is_migparted = true,
        .run = verb_mig_apply,
    },
    {
        .name = "mig assert",
        .summary = "compare the layout of the GPUs with one of a file",
        .about =
            "Says whether the GPUs of this node have the modes and MIG devices of a label\nof "
            "a mig-parted file, wherever the devices lie; without a file, of a built-in\nlayout: "
            "all-disabled, all-enabled, all-balanced, or all-1g.5gb for as many as\nfit of a "
            "profile.\n\nExit status: 0 they have, 1 they have not, or anything failed.\n",
        .examples = "  gpuslice mig assert -f config.yaml -c all-1g.5gb\n"
                    "  gpuslice mig assert -f - -a < config.yaml\n"
                    "  gpuslice mig assert -c all-balanced\n",
        .options = MIG_OPTIONS | 1ull << OPTION_MIG_FILE | 1ull << OPTION_MIG_LABEL |
                   1ull << OPTION_MODE_ONLY | 1ull << OPTION_VALID_CONFIG,
        .is_migparted = true,
        .run = verb_mig_assert,
    },
    {
        .name = "mig export",
        .summary = "print the layout of the GPUs as a mig-parted file",
        .about =
            "Prints modes and MIG devices of this node's GPUs as a file with one label. GPUs\nwith "
            "the same layout share an entry.\n\nExit status: 0 done, 1 failed.\n",
        .examples = "  gpuslice mig export\n"
                    "  gpuslice mig export -o json -l before\n",
        .options = MIG_OPTIONS | 1ull << OPTION_EXPORT_OUTPUT | 1ull << OPTION_EXPORT_LABEL,
        .is_migparted = true,
        .run = verb_mig_export,
    },
    {
        .name = "mig generate-config",
        .summary = "print a mig-parted file for the GPUs of a node",
        .about =
            "Prints a file with a label for each layout that people usually want of this\nnode's "
            "GPUs: all-disabled, all-enabled, all-balanced, and as many as fit of each\n"
            "profile.\n\nExit status: 0 done, 1 failed.\n",
        .examples = "  gpuslice mig generate-config\n"
                    "  gpuslice mig generate-config --machine p5.48xlarge -f config.yaml\n",
        .options = MIG_OPTIONS | 1ull << OPTION_GENERATED_FILE | 1ull << OPTION_EXPORT_OUTPUT,
        .is_migparted = true,
        .run = verb_mig_generate,
    },
    {
        .name = "mig plan",
        .summary = "show the steps to a layout of a file",
        .about =
            "Prints, GPU by GPU, the fewest steps from the current layout to that of a label\nof "
            "a mig-parted file, or to a built-in one. Nothing is changed, and what is in\nuse is "
            "not considered.\n\nExit status: 0 every GPU can have it, 1 one cannot, or anything "
            "failed.\n",
        .examples = "  gpuslice mig plan -f config.yaml -c custom --machine p4d.24xlarge\n"
                    "  gpuslice mig plan -c all-balanced\n",
        .options = MIG_OPTIONS | 1ull << OPTION_MIG_FILE | 1ull << OPTION_MIG_LABEL |
                   1ull << OPTION_MODE_ONLY,
        .is_migparted = true,
        .run = verb_mig_plan,
    },
    {
        .name = "convert",
        .operand = "[FILE]",
        .summary = "turn Karpenter's old Provisioners into what works today",
        .about =
            "Reads Provisioners of Karpenter's v1alpha5 and AWSNodeTemplates, as guides in\n"
            "circulation show them, and prints NodePools and EC2NodeClasses of v1 that do the\n"
            "same, and for each GPU that is named as nvidia.com/gpu a SliceProfile. Each\n"
            "change of meaning is a comment, and what v1 demands and the file lacks is marked\n"
            "PLACEHOLDER. Fences of markdown and text around them, and a stray word 'yaml',\n"
            "do not matter.\n\nExit status: 0 done, 1 done with warnings, 2 errors, 3 "
            "unreadable.\n",
        .examples =
            "  gpuslice convert provisioner.yaml > karpenter.yaml\n"
            "  gpuslice convert guide.md | CLUSTER_NAME=mine envsubst | kubectl apply -f -\n",
        .options = 1ull << OPTION_HELP,
        .run = verb_convert,
    },
    {
        .name = "render",
        .operand = "karpenter|placeholders|cluster-autoscaler|userdata",
        .summary = "print what makes sliced nodes start and scale",
        .about = "Prints what a SliceProfile means to the program that starts nodes, and what a\n"
                 "MIG layout means to a node that starts.\n\n"
                 "  render karpenter            NodePool, EC2NodeClass, NodeOverlays\n"
                 "  render placeholders         pods that keep nodes, without NodeOverlays\n"
                 "  render cluster-autoscaler   the tags of an Auto Scaling group\n"
                 "  render userdata             what partitions GPUs before the kubelet starts\n\n"
                 "'gpuslice help render SUBJECT' explains one.\n",
        .examples = "  gpuslice render karpenter profile.yaml\n",
        .options = 1ull << OPTION_HELP,
        .run = verb_render,
    },
    {
        .name = "render karpenter",
        .operand = "FILE...",
        .summary = "print the objects by which Karpenter starts sliced nodes",
        .about =
            "Reads SliceProfiles and prints for each of them the NodeOverlays that tell\n"
            "Karpenter what its nodes will advertise; the NodePool, unless the profile names\n"
            "one; and the EC2NodeClass, unless it names a class. Other objects in the files\n"
            "are passed over.\n\nThe numbers are those of the plan that the agent makes on such a "
            "node. Karpenter\nheeds NodeOverlays with its feature gate NodeOverlay on.\n\n"
            "Exit status: 0 done, 1 done with warnings, 2 errors, 3 unreadable.\n",
        .examples = "  gpuslice render karpenter profile.yaml | kubectl apply -f -\n"
                    "  gpuslice render karpenter -t g5.12xlarge,g5.24xlarge profile.yaml\n",
        .options = 1ull << OPTION_INSTANCE_TYPES | 1ull << OPTION_AMI |
                   1ull << OPTION_NO_STARTUP_TAINT | 1ull << OPTION_HELP,
        .run = verb_render_karpenter,
    },
    {
        .name = "render placeholders",
        .operand = "FILE...",
        .summary = "print what keeps sliced nodes where Karpenter has no NodeOverlays",
        .about =
            "For Karpenter before 1.9, or with its feature gate off. It starts no node for\n"
            "pods that ask for slices; so this prints, beside NodePool and EC2NodeClass, pods\n"
            "that request next to nothing and may not share a node: Karpenter starts a node\n"
            "for each. There are as many as the cheapest nodes for so many slices, by the\n"
            "prices of plan --cost; the number of replicas is then up to you.\n\n"
            "Exit status: 0 done, 1 done with warnings, 2 errors, 3 unreadable.\n",
        .examples =
            "  gpuslice render placeholders --slices 32 profile.yaml | kubectl apply -f -\n",
        .options = 1ull << OPTION_SLICES | 1ull << OPTION_INSTANCE_TYPES | 1ull << OPTION_AMI |
                   1ull << OPTION_NO_STARTUP_TAINT | 1ull << OPTION_HELP,
        .run = verb_render_placeholders,
    },
    {
        .name = "render cluster-autoscaler",
        .operand = "FILE...",
        .summary = "print the tags by which cluster-autoscaler starts sliced nodes",
        .about = "Reads SliceProfiles and prints, for each set of instance types whose nodes\n"
                 "advertise the same, the tags that an Auto Scaling group of them needs, so that\n"
                 "cluster-autoscaler knows what a node has before there is one.\n\n"
                 "Exit status: 0 done, 1 done with warnings, 2 errors, 3 unreadable.\n",
        .examples = "  gpuslice render cluster-autoscaler profile.yaml\n",
        .options = 1ull << OPTION_INSTANCE_TYPES | 1ull << OPTION_HELP,
        .run = verb_render_autoscaler,
    },
    {
        .name = "render userdata",
        .summary = "print user data that partitions GPUs before the kubelet starts",
        .about =
            "Prints the user data of an instance by which its GPUs have a layout of a\nmig-parted "
            "file, or a built-in one, before the kubelet starts: a script that\nneeds nvidia-smi "
            "alone, installed as a unit that runs at each boot; for\nBottlerocket its settings. "
            "With --machine each instance has its place, and\na layout that these GPUs cannot have "
            "is refused. Without it the entries of the\nfile are for whatever GPUs there will "
            "be.\n\nExit status: 0 done, 2 errors.\n",
        .examples = "  gpuslice render userdata -c all-1g.5gb --machine p4d.24xlarge\n"
                    "  gpuslice render userdata -f config.yaml -c custom --os ubuntu\n"
                    "  gpuslice render userdata -c all-1g.5gb -m p4d.24xlarge --os bottlerocket\n",
        .options = 1ull << OPTION_MIG_FILE | 1ull << OPTION_MIG_LABEL |
                   1ull << OPTION_USERDATA_MACHINE | 1ull << OPTION_OS | 1ull << OPTION_HELP,
        .run = verb_render_userdata,
    },
    {
        .name = "version",
        .summary = "print the version",
        .about = "Prints the version of gpuslice.\n",
        .examples = "  gpuslice version\n",
        .options = 1ull << OPTION_HELP,
        .run = verb_version,
    },
    {
        .name = "help",
        .operand = "[VERB]",
        .summary = "explain gpuslice, or one of its verbs",
        .about = "Prints the list of verbs, or the details of one verb.\n",
        .examples = "  gpuslice help\n  gpuslice help plan\n",
        .options = 1ull << OPTION_HELP,
        .run = verb_help,
    },
    {
        .name = "completion",
        .operand = "bash|zsh|fish|machines|keys",
        .summary = "print the completion script of a shell",
        .about =
            "Prints a script that completes the command lines of gpuslice and its\nsister "
            "programs. `machines` prints the names that --machine accepts, one per\nline, `keys` "
            "the keys that --key accepts of the file of --config.\n",
        .examples = "  source <(gpuslice completion bash)\n"
                    "  gpuslice completion fish > ~/.config/fish/completions/gpuslice.fish\n"
                    "  gpuslice completion machines\n",
        .options = 1ull << OPTION_CONFIG | 1ull << OPTION_HELP,
        .run = verb_completion,
    },
};

const size_t n_verbs = ARRAY_SIZE(verbs);

const struct verb *verb_find(const char *name)
{
    for (size_t i = 0; i < n_verbs; i++)
        if (str_equal(verbs[i].name, name))
            return &verbs[i];
    return NULL;
}

const char *verb_second_word(const struct verb *verb)
{
    const char *space = strchr(verb->name, ' ');

    return space ? space + 1 : NULL;
}

static bool is_of_group(const struct verb *verb, const char *group)
{
    return verb_second_word(verb) && str_starts_with(verb->name, group) &&
           verb->name[strlen(group)] == ' ';
}

enum exit_status verb_group(const char *group, const char *word)
{
    const char *names[ARRAY_SIZE(verbs)], *near = NULL;
    cleanup_text struct text list = TEXT_INIT;
    size_t n = 0;

    for (size_t i = 0; i < n_verbs; i++) {
        if (!is_of_group(&verbs[i], group))
            continue;
        names[n] = verb_second_word(&verbs[i]);
        text_addf(&list, "%s%s", n ? ", " : "", names[n]);
        n++;
    }
    if (word)
        near = str_suggest(word, names, n);
    if (near)
        complain("'%s' has no verb '%s'; did you mean 'gpuslice %s %s'?", group, word, group, near);
    else
        complain("name what to do, as in 'gpuslice %s %s'; the verbs are %s", group, names[0],
                 text_string(&list));
    return EXIT_USAGE;
}

const struct verb *verb_find_words(int argc, char *const argv[], int *ret_n_words)
{
    char both[64];
    const struct verb *verb;

    *ret_n_words = 2;
    if (argc > 1) {
        snprintf(both, sizeof(both), "%s %s", argv[0], argv[1]);
        verb = verb_find(both);
        if (verb)
            return verb;
    }
    *ret_n_words = 1;
    return verb_find(argv[0]);
}

const struct verb *verb_suggest(const char *word)
{
    const char *names[ARRAY_SIZE(verbs)], *near;
    size_t n = 0;

    for (size_t i = 0; i < n_verbs; i++)
        if (!verb_second_word(&verbs[i]))
            names[n++] = verbs[i].name;
    near = str_suggest(word, names, n);
    return near ? verb_find(near) : NULL;
}

void complain(const char *format, ...)
{
    va_list args;

    /* Earlier output belongs before the error message if both go to one terminal. */
    fflush(stdout);
    fputs("gpuslice: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
