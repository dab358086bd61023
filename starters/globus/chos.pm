# Globus GRAM5: a job enters the environment that its user chose.
#
# Linked as chos_LRM.pm beside Globus's own LRM.pm (fork.pm, sge.pm …), and named by `-type chos_LRM` in
# /etc/grid-services, this is that adapter with another `submit`. The job's (environment=(CHOS NAME)) chooses, else
# the first word of ~/.chos. All of it is read as the user, who has the job manager's process, and for each job anew:
# one process submits all jobs of a user, so nothing may stay behind in it.
#
# On this node (fork) chos-job-starter runs the job. A batch system is handed CHOS when the job is submitted, and has a
# starter of its own. Never runs a job on the base instead of in an environment that was asked for.
package Globus::GRAM::CHOS;

use strict;
use warnings;
use Fcntl qw(O_RDONLY O_NONBLOCK O_NOCTTY);
use Globus::GRAM::Error;

use constant {STARTER => '/usr/bin/chos-job-starter', MOST => 4096};

# (name, nothing), or (nothing, reason). Looked at before it is opened: opening a device may be an act.
sub from_file {
    my $path = (getpwuid $<)[7] . '/.chos';
    my ($file, $text);
    return unless -e $path || -l $path;
    return (undef, '~/.chos is not a regular file') unless -f $path;
    return (undef, "~/.chos cannot be read: $!")
        unless sysopen($file, $path, O_RDONLY | O_NONBLOCK | O_NOCTTY) && -f $file && defined sysread($file, $text, MOST);
    my ($word) = $text =~ /(\S+)/ or return;
    return (undef, '~/.chos does not begin with the name of an environment') if $word !~ m{\A[\w./-]+\z}a;
    return $word;
}

# Condor-G's own helper reads the job manager's files: it stays, and fork.pm has to recognise it.
sub is_grid_monitor {
    my ($file, $text) = (undef, '');
    sysopen($file, shift, O_RDONLY | O_NONBLOCK | O_NOCTTY) && -f $file && sysread($file, $text, 1 << 16);
    return $text =~ /\A#!.*grid_manager_monitor_agent/s;
}

# The description's command, run by the starter. A program that is only in the OS tree is not missed on the base.
sub start_with_starter {
    my ($job, $name) = @_;
    my ($program, $directory) = ($job->executable() // '', $job->directory() // '');
    return if $program eq '';
    $directory = "$ENV{HOME}/$directory" if $directory !~ m{\A/};
    $program = "$directory/$program" if $program !~ m{\A/};
    return if is_grid_monitor($program) || !(defined $name || -f $program && -x _);
    $job->add('arguments', [$program, $job->arguments()]);
    $job->add('executable', STARTER);
    $job->add('environment', [$job->environment(), ['CHOS', $name // '']]);
}

sub submit {
    my ($self, $lrm) = @_;
    my $job = $self->{JobDescription};
    my ($name, $why) = map {$_->[1]} grep {ref && @$_ == 2 && $_->[0] eq 'CHOS'} $job->environment();
    my $from_job = defined $name;
    ($name, $why) = from_file() unless $from_job;
    if (defined $why) {
        $self->respond({GT3_FAILURE_MESSAGE => "chos: $why"});
        return Globus::GRAM::Error::JOB_EXECUTION_FAILED();
    }
    # What a batch system's submit command sees. The variable of the job's own description reaches a batch job only
    # when it has begun: then the starter enters anew.
    local $ENV{CHOS} = $name // '';
    delete $ENV{CHOS} unless defined $name;
    start_with_starter($job, $name) if $from_job || $lrm eq 'fork';
    # fork.pm never forgets a variable of an earlier job.
    local %Globus::GRAM::JobManager::fork::CHILD_ENV;
    return "Globus::GRAM::JobManager::$lrm"->can('submit')->($self);
}

# The adapter for the LRM that the file's name says.
sub adapt {
    my ($lrm) = shift =~ m{/chos_(\w+)\.pm\z} or die 'to be linked as chos_LRM.pm';
    require "Globus/GRAM/JobManager/$lrm.pm";
    no strict 'refs';
    @{"Globus::GRAM::JobManager::chos_${lrm}::ISA"} = ("Globus::GRAM::JobManager::$lrm");
    *{"Globus::GRAM::JobManager::chos_${lrm}::submit"} = sub {submit(shift, $lrm)};
}

adapt(__FILE__);
1;
