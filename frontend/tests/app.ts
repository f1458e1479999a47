// What the panel uses of the App, in place of its global packages; the answers come from `server.answer`.

type Answer = { value: unknown } | { message: string };

export const server: { answer: (event: string, params: Record<string, unknown>) => Promise<Answer> } = {
  answer: () => Promise.reject(new Error("no server")),
};

interface PanelEvent {
  operator: string;
  params: Record<string, unknown>;
  callback: (result: { result: Answer }) => boolean | undefined;
}

const send = (_panel: string, event: PanelEvent): void => {
  void server.answer(event.operator, event.params).then((result) => event.callback({ result }));
};

export const usePanelEvent = () => send;
export const usePanelId = () => "panel";
export const getSampleSrc = (path: string) => `/media?filepath=${path}`;
export const selectedSamples = "selectedSamples";
export const view = "view";
export const filters = "filters";
export const state: Record<string, unknown> = {};
export const useRecoilValue = (name: string) => state[name];
