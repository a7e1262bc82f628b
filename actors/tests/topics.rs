//! Publish and subscribe on one machine.

use umbel_actors::{Overflow, System, Topic};

#[tokio::test]
async fn everyone_who_subscribed_before_hears_it_in_order() {
    let system = System::new("test");
    let topic = system.topic::<u32>("news").unwrap();
    let mut first = topic.subscribe();
    let mut second = system.topic::<u32>("news").unwrap().subscribe();
    for number in 0..100 {
        assert_eq!(topic.publish(number), 2);
    }
    let mut late = topic.subscribe();
    for number in 0..100 {
        assert_eq!(first.recv().await, Some(number));
        assert_eq!(second.recv().await, Some(number));
    }
    assert_eq!(late.try_recv(), None);
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_and_counts_it() {
    let topic = Topic::new("news");
    let mut slow = topic.subscribe_with(3, Overflow::DropOldest);
    for number in 0..5 {
        topic.publish(number);
    }
    assert_eq!(slow.lost(), 2);
    assert_eq!((slow.try_recv(), slow.try_recv(), slow.try_recv()), (Some(2), Some(3), Some(4)));
}

#[tokio::test]
async fn a_full_queue_drops_the_newest_where_that_was_asked_for() {
    let topic = Topic::new("news");
    let mut slow = topic.subscribe_with(2, Overflow::DropNewest);
    for number in 0..5 {
        topic.publish(number);
    }
    assert_eq!((slow.lost(), slow.try_recv(), slow.try_recv()), (3, Some(0), Some(1)));
}

#[tokio::test]
async fn a_disconnected_subscriber_gets_what_its_queue_holds_and_then_the_end() {
    let topic = Topic::new("news");
    let mut slow = topic.subscribe_with(1, Overflow::Disconnect);
    assert_eq!((topic.publish(1), topic.publish(2), topic.publish(3)), (1, 0, 0));
    assert_eq!(topic.subscribers(), 0);
    assert_eq!((slow.recv().await, slow.recv().await), (Some(1), None));
}

#[tokio::test]
async fn nobody_hears_anything_after_unsubscribing() {
    let topic = Topic::new("news");
    let subscription = topic.subscribe();
    assert_eq!(topic.publish(1), 1);
    drop(subscription);
    assert_eq!((topic.publish(2), topic.subscribers()), (0, 0));
}

#[tokio::test]
async fn a_topic_carries_one_type_of_message() {
    let system = System::new("test");
    let _numbers = system.topic::<u32>("news").unwrap();
    let texts = system.topic::<String>("news");
    assert_eq!(texts.unwrap_err().topic, "news");
}
