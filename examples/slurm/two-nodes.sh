#!/bin/bash
# A SLURM cluster of two nodes on this machine, to try the templates beside this file.
#
#   bash two-nodes.sh FOLDER &           # Ctrl-C, or kill, ends it
#   export SLURM_CONF=FOLDER/slurm.conf  # sbatch, squeue and scancel now speak with it
#
# Debian and Ubuntu have the programs in their package slurm-wlm. All files lie in FOLDER. It listens on
# the loopback address only, at PORT and the two ports after it. Whoever can connect to it can run jobs
# as you, so do not start it on a machine that you share.
set -eu
mkdir -p "${1:?expected a folder}"/{controller,n1,n2}
folder=$(cd "$1" && pwd)
port=${PORT:-27817}

# Each node is said to have 8 cores, 2 GPUs and plenty of memory. Nothing compares this with the
# machine: it decides only how many jobs run at once.
cat > "$folder/slurm.conf" <<END
ClusterName=two-nodes
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort=$port
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/none
CredType=cred/none
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000,sched_interval=1,bf_interval=1
GresTypes=gpu
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$folder/controller
SlurmctldPidFile=$folder/controller/pid
SlurmctldLogFile=$folder/controller/log
SlurmdSpoolDir=$folder/%n
SlurmdPidFile=$folder/%n/pid
SlurmdLogFile=$folder/%n/log
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname=localhost Port=$((port + 1)) CPUs=8 RealMemory=262144 Gres=gpu:2
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname=localhost Port=$((port + 2)) CPUs=8 RealMemory=262144 Gres=gpu:2
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
END
# SLURM wants a device for each GPU; any will do here, as no job may be kept from it
printf 'NodeName=n1,n2 Name=gpu File=/dev/%s\n' null zero > "$folder/gres.conf"
export SLURM_CONF=$folder/slurm.conf

stop() {
  trap - EXIT INT TERM
  scancel --user="$(id -un)" --quiet || true
  for _ in $(seq 100); do  # until the jobs' processes are gone
    [[ -z $(squeue --noheader --states=RUNNING,COMPLETING 2>/dev/null) ]] && break
    sleep 0.1
  done
  kill $(jobs -p) 2>/dev/null || true
  wait
}
trap stop EXIT
trap 'exit 0' INT TERM

for daemon in slurmctld 'slurmd -N n1' 'slurmd -N n2'; do
  $daemon -D > "$folder/started.log" 2>&1 &
done
wait -n
echo "a daemon of SLURM ended: see $folder/controller/log and $folder/n1/log" >&2
exit 1
