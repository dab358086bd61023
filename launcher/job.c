/* chos-job-starter: what a job gets beyond its environment. Everything here happens without privilege. */
#include "launcher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <unistd.h>

/* A batch system is recognised by a variable that no other sets. A grid job may also be a batch job, and then counts as such. */
static const struct { char service[12], sign[24], job[24], part[16]; } systems[] = {
    {"slurm", "SLURM_JOB_ID", "SLURM_JOB_ID", "SLURM_STEP_ID"},
    {"sge", "SGE_CELL", "JOB_ID", "SGE_TASK_ID"},
    {"lsf", "LSB_JOBID", "LSB_JOBID", "LSB_JOBINDEX"},
    {"pbs", "PBS_JOBID", "PBS_JOBID", ""},
    {"htcondor", "_CONDOR_SCRATCH_DIR", "_CONDOR_JOB_ID", ""},
    {"globus", "GLOBUS_GRAM_JOB_CONTACT", "GLOBUS_GRAM_JOB_CONTACT", ""},
    {"arc", "GRID_GLOBAL_JOBID", "GRID_GLOBAL_JOBID", ""},
};

static const char *value(const char *name)
{
    const char *text = name[0] != '\0' ? getenv(name) : NULL;
    return text != NULL && text[0] != '\0' ? text : NULL;
}

/* Grid Engine and LSF use "undefined" and "0" for a job that is not an array. */
static const char *job_id(const char *job, const char *part)
{
    char *text = room(CHOS_NAME_SIZE);
    struct chos_text t = {text, CHOS_NAME_SIZE, 0};
    chos_put(&t, job != NULL ? job : "");
    if (t.len > 0 && part != NULL && strcmp(part, "undefined") != 0 && strcmp(part, "0") != 0) {
        chos_put(&t, ".");
        chos_put(&t, part);
    }
    return text;
}

static void record(const struct chos_jobs *jobs, const struct chos_session *s)
{
    size_t i = 0, n = sizeof systems / sizeof *systems;
    struct chos_record places;
    while (i < n && value(systems[i].sign) == NULL)
        i++;
    struct chos_entry entry = {.uid = getuid(), .user = account()->name, .service = i < n ? systems[i].service : "job"};
    entry.job = i < n ? job_id(value(systems[i].job), value(systems[i].part)) : NULL;
    entry.environment = s != NULL ? s->alias : NULL;
    entry.generation = s != NULL ? s->target.name : NULL;
    chos_record_open(&places, jobs, s != NULL && s->target.kind != CHOS_TO_BASE ? "/local" : "");
    chos_record_write(&places, &entry);
}

/* Lowers a limit; a limit that is already lower stays. */
static void limit(int resource, uint64_t most, const char *name)
{
    struct rlimit now;
    struct chos_error e;
    if (most == 0)
        return;
    if (getrlimit(resource, &now) == 0) {
        now.rlim_max = now.rlim_max < most ? now.rlim_max : most;
        now.rlim_cur = now.rlim_cur < now.rlim_max ? now.rlim_cur : now.rlim_max;
        if (setrlimit(resource, &now) == 0)
            return;
    }
    chos_fail(&e, CHOS_SYSTEM, errno, name);
    die(&e);
}

void job_begin(const struct chos_session *s)
{
    struct chos_jobs *jobs = room(sizeof *jobs);
    struct chos_error e;
    if (chos_jobs_read(jobs, &e))
        die(&e);
    record(jobs, s);
    limit(RLIMIT_NPROC, jobs->processes, "RLIMIT_NPROC");
    limit(RLIMIT_AS, jobs->memory, "RLIMIT_AS");
}

/* For a job without $CHOS the user's file chooses, if the site has set that. Privilege is gone by now, so this program
 * executes itself again, with $CHOS. */
void job_choose(char **argv)
{
    struct chos_jobs *jobs = room(sizeof *jobs);
    const char *name, *self = (const char *)getauxval(AT_EXECFN);
    struct chos_error e;
    if (chos_jobs_read(jobs, &e))
        die(&e);
    int found = jobs->user_file != NULL ? user_file_read(jobs->user_file, &name, &e) : 0;
    if (found == 0)
        return;
    if (found > 0 && setenv("CHOS", name, 1) != 0) {
        chos_fail(&e, CHOS_SYSTEM, errno, "CHOS");
    } else if (found > 0) {
        execve(self, argv, environ);
        chos_fail(&e, CHOS_NOT_EXECUTABLE, errno, self);
    }
    die(&e);
}
