// CPU of a process tree's one process, threads included. The scheduler's own nanoseconds are used where the
// kernel gives them, because the ticks of /proc/<pid>/stat are 10 ms wide.

import { readdirSync, readFileSync } from "node:fs";

const TICK_US = 10_000;

/** Microseconds of CPU that the process has used since it began. */
export function cpuOf(pid) {
  const fine = fineUs(pid);
  return fine === undefined ? ticksUs(pid) : fine;
}

/** The same from utime + stime, in steps of one tick. */
export function ticksUs(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
}

function fineUs(pid) {
  try {
    let ns = 0;
    for (const task of readdirSync(`/proc/${pid}/task`)) {
      ns += Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, "latin1").split(" ")[0]);
    }
    return ns > 0 ? ns / 1000 : undefined;
  } catch {
    return undefined;
  }
}

/** Ids of the workerd processes that this process started. */
export function workerdChildren() {
  const pids = [];
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) {
      continue;
    }
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "latin1");
      const command = stat.slice(stat.indexOf("(") + 1, stat.lastIndexOf(")"));
      const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
      if (command === "workerd" && parent === process.pid) {
        pids.push(Number(name));
      }
    } catch {
      // The process ended between the listing and the reading.
    }
  }
  return pids;
}
