//! Lists that come in pages: page by page, or as a stream. Knows nothing of what is listed.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::error::Error;

/// A page of a list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Its number, from 1.
    pub number: u64,
    /// How many there are on all pages together, as far as the server says.
    pub total: Option<u64>,
    /// Whether there may be another one.
    pub(crate) more: bool,
    /// Tells it from other pages: a server that ignores page numbers would send the same one for ever.
    pub(crate) mark: Option<String>,
}

impl<T> Page<T> {
    /// What a server sent as page `number` when it was asked for `limit` items.
    pub(crate) fn of(items: Vec<T>, number: u64, limit: u64, total: Option<u64>) -> Self {
        let count = u64::try_from(items.len()).unwrap_or(u64::MAX);
        // Some servers count what is on the page: that number says nothing of other pages.
        let counted =
            total.is_some_and(|total| total > count && number.saturating_mul(limit) >= total);
        Self {
            more: count >= limit && count > 0 && !counted,
            items,
            number,
            total,
            mark: None,
        }
    }

    pub(crate) fn marked(mut self, mark: impl FnOnce(&T) -> Option<String>) -> Self {
        self.mark = self.items.first().and_then(mark);
        self
    }
}

type Fetching<T> = Pin<Box<dyn Future<Output = Result<Page<T>, Error>> + Send>>;
type Fetch<T> = Arc<dyn Fn(u64) -> Fetching<T> + Send + Sync>;

/// A list that is fetched page by page, as it is needed; nothing is sent before it is asked for.
///
/// Take it page by page with [`next_page`](Self::next_page), item by item with [`next`](Self::next), whole with
/// [`all`](Self::all), or as a `Stream`. After an error, `next_page` tries the same page again; the stream is over.
///
/// ```no_run
/// # async fn example(client: honeyhive::api::Client) -> Result<(), honeyhive::Error> {
/// use honeyhive::api::{EventQuery, Filter};
///
/// let query = EventQuery::new().filters([Filter::field("event_name").eq("ask")]);
/// let mut events = client.events().search(query);
/// while let Some(event) = events.next().await {
///     println!("{}", event?.outputs);
/// }
/// # Ok(())
/// # }
/// ```
#[must_use = "pages are fetched when they are asked for"]
pub struct Pages<T> {
    fetch: Fetch<T>,
    /// The page to fetch next; `None`: there is no more.
    next: Option<u64>,
    fetching: Option<Fetching<T>>,
    /// What the stream has not given out yet.
    left: VecDeque<T>,
    total: Option<u64>,
    mark: Option<String>,
}

impl<T> Pages<T> {
    pub(crate) fn new<F>(first: u64, fetch: impl Fn(u64) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<Page<T>, Error>> + Send + 'static,
    {
        Self {
            fetch: Arc::new(move |number| Box::pin(fetch(number))),
            next: Some(first),
            fetching: None,
            left: VecDeque::new(),
            total: None,
            mark: None,
        }
    }

    /// How many there are, as far as the server said with the page fetched last.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// The next page, or `None` after the last one. What the stream began and did not finish is given out first.
    ///
    /// # Errors
    ///
    /// The call failed. The next call tries the same page again.
    pub async fn next_page(&mut self) -> Result<Option<Page<T>>, Error> {
        if !self.left.is_empty() {
            return Ok(Some(Page {
                items: self.left.drain(..).collect(),
                number: self.next.unwrap_or(1).saturating_sub(1).max(1),
                total: self.total,
                more: self.next.is_some(),
                mark: None,
            }));
        }
        poll_fn(|cx| self.poll_page(cx)).await
    }

    fn poll_page(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Page<T>>, Error>> {
        let Some(number) = self.next else {
            return Poll::Ready(Ok(None));
        };
        let fetching = self.fetching.get_or_insert_with(|| (self.fetch)(number));
        let outcome = match fetching.as_mut().poll(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(outcome) => outcome,
        };
        self.fetching = None;
        let page = outcome?;
        self.total = page.total;
        let same = page.mark.is_some() && page.mark == self.mark;
        self.mark.clone_from(&page.mark);
        self.next = (page.more && !same).then_some(number.saturating_add(1));
        if page.items.is_empty() || same {
            return Poll::Ready(Ok(None));
        }
        Poll::Ready(Ok(Some(page)))
    }

    /// The next item, or `None` after the last one.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_item(cx)).await
    }

    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        loop {
            if let Some(item) = self.left.pop_front() {
                return Poll::Ready(Some(Ok(item)));
            }
            match self.poll_page(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(page))) => self.left.extend(page.items),
                Poll::Ready(Ok(None)) => return Poll::Ready(None),
                Poll::Ready(Err(error)) => {
                    self.next = None;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    /// All that is left, in one list.
    ///
    /// # Errors
    ///
    /// A page could not be fetched.
    pub async fn all(mut self) -> Result<Vec<T>, Error> {
        let mut all = Vec::new();
        while let Some(page) = self.next_page().await? {
            all.extend(page.items);
        }
        Ok(all)
    }
}

impl<T: Unpin> Stream for Pages<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_item(cx)
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("next", &self.next)
            .field("total", &self.total)
            .finish_non_exhaustive()
    }
}
