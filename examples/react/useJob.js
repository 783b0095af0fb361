import { useEffect, useState } from "react";

const nothing = { events: [], status: "pending", progress: 0, connection: "", error: null };

// useJob follows a job as long as the component is there. All components with the same client
// share its connection.
export function useJob(jobcast, id) {
  const [job, setJob] = useState(nothing);
  useEffect(() => {
    setJob(nothing); // another job, or the same told from its beginning
    if (!id) return;
    const watch = jobcast.watch(id, {
      onEvent: (event) => setJob((job) => (event.type === "reset" ? { ...nothing, connection: job.connection } : {
        ...job, events: [...job.events, event], status: event.status, progress: event.data.progress ?? job.progress,
      })),
      onState: ({ state, error = null }) => setJob((job) => ({ ...job, connection: state, error })),
    });
    return () => watch.close();
  }, [jobcast, id]);
  return job;
}
