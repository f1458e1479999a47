// The run and the tab that were shown last, for each dataset, until the browser's tab is closed: reloading the page keeps them.

interface Shown {
  readonly run: string | null;
  readonly tab: string | null;
}

const NOTHING: Shown = { run: null, tab: null };

/** What the browser remembers of the panel of a dataset. */
export class Memory {
  private readonly entry: string;

  /** @param asked run that the panel was opened for; a panel that is opened for another one remembers nothing of before */
  constructor(
    dataset: string,
    private readonly asked: string | null,
  ) {
    this.entry = `fiftyone-deepcluster ${dataset}`;
  }

  /** What was shown last; nothing where none is stored, or what is stored cannot be read. */
  read(): Shown {
    try {
      const stored: unknown = JSON.parse(sessionStorage.getItem(this.entry) ?? "null");
      if (typeof stored !== "object" || stored === null) return NOTHING;
      const { asked, run, tab } = stored as Record<string, unknown>;
      return asked === this.asked ? { run: textOrNull(run), tab: textOrNull(tab) } : NOTHING;
    } catch {
      return NOTHING; // the text is no JSON, or the browser lets nothing be stored
    }
  }

  keep(change: Partial<Shown>): void {
    try {
      sessionStorage.setItem(this.entry, JSON.stringify({ asked: this.asked, ...this.read(), ...change }));
    } catch {
      // the browser lets nothing be stored
    }
  }
}

export function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}
