// What the components keep on the window, because a page holds several of them; read by the check of types alone.
interface Window {
  influenceKeys?: string;                                    // the gallery that had the focus last
  influenceOutboxes?: Set<string>;                           // those whose gallery is on screen
  influenceHold?: { until: number; page: string | null };    // when messages may go out again after a click
  influenceGalleries?: Map<string, any>;                     // those on screen, by their outbox
  influenceAnswers?: Map<string, any>;                       // what the server last said to each of them
}
