/** Lists that come in pages. */

/** One page of a list. */
export interface Page<Item> {
  /** The entries. Even a page before the last one may have fewer than requested. */
  readonly items: readonly Item[];
  /** The token of the next page. Empty on the last page. */
  readonly nextPageToken: string;
}

/** Yield the items of all pages, from the page of the options on. */
export async function* itemsOf<Item, Options extends { readonly pageToken?: string | undefined }>(
  fetch: (options: Options) => Promise<Page<Item>>,
  options: Options,
): AsyncGenerator<Item, void, undefined> {
  let page = await fetch(options);
  yield* page.items;
  while (page.nextPageToken !== "") {
    page = await fetch({ ...options, pageToken: page.nextPageToken });
    yield* page.items;
  }
}
