/** Until the work is done, the browser asks before it closes the tab: what was not sent yet would be lost. */
export function keepTabOpen<T>(work: Promise<T>): Promise<T> {
  const ask = (event: BeforeUnloadEvent): void => {
    event.preventDefault();
    event.returnValue = ""; // for browsers in which the above is not enough
  };
  window.addEventListener("beforeunload", ask);
  return work.finally(() => window.removeEventListener("beforeunload", ask));
}
